"""Work with files: sha256, Mega's checksum, detection of web pages, atomic writing, strict YAML and JSON, locks."""
