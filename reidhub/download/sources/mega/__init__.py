"""Mega: files behind links that carry the key to the content, and its MAC."""

from reidhub.download.sources.mega.storage import open_stream, probe

__all__ = ["open_stream", "probe"]
