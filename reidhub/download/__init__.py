"""Download checkpoint files from their sources into the cache, check links, and build mirrors."""
