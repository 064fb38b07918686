"""The sha256 of files."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from reidhub.files.regular_file import open_regular_file

if TYPE_CHECKING:
    import hashlib

BLOCK = 1 << 20  # bytes to read at once
_HEX = re.compile(r"[0-9a-f]{64}")


def sha256(data: bytes = b"") -> "hashlib._Hash":
    """Return a sha256 object that has hashed ``data``; its method ``update`` hashes more bytes."""
    import hashlib  # loads OpenSSL, which takes milliseconds that `import reidhub` does not need

    return hashlib.sha256(data)


@dataclass(frozen=True, slots=True)
class Digest:
    """The sha256 of some bytes.

    Args:
        hex: 64 lower-case hexadecimal digits.

    Raises:
        ValueError: ``hex`` is anything else.
    """

    hex: str

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.hex):
            raise ValueError(f"not a sha256 of 64 lower-case hex digits: {self.hex!r}")

    def __str__(self) -> str:
        return self.hex

    @property
    def short(self) -> str:
        """The first 8 digits, for messages."""
        return self.hex[:8]

    @classmethod
    def of_bytes(cls, data: bytes) -> Self:
        """Return the sha256 of bytes."""
        return cls(sha256(data).hexdigest())

    @classmethod
    def of_chunks(cls, chunks: Iterable[bytes]) -> Self:
        """Return the sha256 of all chunks joined together."""
        state = sha256()
        for chunk in chunks:
            state.update(chunk)
        return cls(state.hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Return the sha256 of a file's bytes.

        Raises:
            OSError: the file cannot be read, or is not a regular file.
        """
        import hashlib

        with open_regular_file(path) as file:
            return cls(hashlib.file_digest(file, "sha256").hexdigest())
