"""The images to embed: where they are, what they are called, and how they are read."""
