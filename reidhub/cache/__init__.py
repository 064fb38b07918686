"""The folder of downloaded files: storing, finding, checking, pruning and importing them."""
