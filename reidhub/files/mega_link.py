"""Parse links to files on Mega. A link contains the name, the decryption key and the checksum (MAC) of one file."""

import base64
import re
from dataclasses import dataclass, field
from typing import Self

from reidhub.errors import SourceError

_HOSTS = r"https?://(?:www\.)?mega(?:\.co)?\.nz/"
_FOLDER = re.compile(_HOSTS + r"(?:#F!|folder/).*", re.ASCII)
_OLD = re.compile(_HOSTS + r"#!([^!]*)(?:!(.*))?", re.ASCII)
_NEW = re.compile(_HOSTS + r"file/([^#]*)(?:#(.*))?", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class MegaLink:
    """The parts of a link to one file.

    Args:
        handle: name of the file on Mega, 8 characters.
        aes: key that decrypts the file, 16 bytes.
        nonce: first half of the AES counter, 8 bytes.
        mac: checksum of the decrypted file, 8 bytes; see `reidhub.files.mega_mac`.
    """

    handle: str
    aes: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    mac: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a link of the form ``https://mega.nz/#!HANDLE!KEY`` or ``https://mega.nz/file/HANDLE#KEY``.

        Raises:
            SourceError: the text is not such a link. The error is ``permanent``: another attempt cannot help.
        """
        plain = text.replace("%21", "!")
        found = _OLD.fullmatch(plain) or _NEW.fullmatch(plain)
        if found is None:
            raise _describe_fault(
                "it leads to a folder" if _FOLDER.fullmatch(plain) else "it is no link to a file on mega.nz"
            )
        handle, key = found[1], found[2]
        if len(handle) != 8 or not _WORD.fullmatch(handle):
            raise _describe_fault("the file's handle is not 8 letters, digits, - or _")
        if not key:
            raise _describe_fault("the key behind the handle is missing")
        raw = _decode_key(key)
        return cls(handle, bytes(a ^ b for a, b in zip(raw[:16], raw[16:], strict=True)), raw[16:24], raw[24:])


def _decode_key(key: str) -> bytes:
    if len(key) != 43 or not _WORD.fullmatch(key):
        raise _describe_fault(f"the key is not 43 letters, digits, - or _ but {len(key)} characters")
    raw = base64.urlsafe_b64decode(key + "=")
    if base64.urlsafe_b64encode(raw).decode() != key + "=":
        raise _describe_fault("the key's last character cannot end a key of 32 bytes")
    return raw


def _describe_fault(why: str) -> SourceError:
    # The link is not quoted, because it holds the key; an error of the manifest names the line of the link.
    return SourceError(f"malformed Mega link: {why}", permanent=True)
