"""Files on Mega. A link holds the key that decrypts the file, and its MAC, a checksum of the decrypted file."""

from reidhub.download.sources.mega.storage import open_stream, probe

__all__ = ["open_stream", "probe"]
