"""The zoo as values: what checkpoints there are, read from the manifest, found by selectors."""
