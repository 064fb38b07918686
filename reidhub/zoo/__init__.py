"""The checkpoints of the zoo: their types, the manifest that describes them, and the selectors that find them."""
