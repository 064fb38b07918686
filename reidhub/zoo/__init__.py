"""The checkpoints that exist: value types, the manifest that describes them, and selectors that find them."""
