"""Reads files from Mega. A Mega link holds the key to decrypt a file and the MAC, a checksum of the decrypted file."""

from reidhub.download.sources.mega.storage import open_stream, probe

__all__ = ["open_stream", "probe"]
