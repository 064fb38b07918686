"""Bytes and formats of files: digests, Mega's MAC, what a file's first bytes say, strict YAML, locks."""
