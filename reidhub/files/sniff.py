"""Check the first bytes of a file, because hosts may send a web page or an error text instead of a checkpoint.

Only bytes that are certainly no checkpoint are refused. Other bytes are checked later, by size, sha256 and loading.
"""

import html
import re
from collections.abc import Iterator
from itertools import chain

from reidhub.errors import IntegrityError

HEAD = 1024  # bytes that are enough to recognise a page
PAGE = 256 * 1024  # largest number of bytes that are read of a web page, to find its title and length

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # never in a text, but near the start of every binary file
_TITLE = re.compile(rb"<title[^>]{0,100}>([^<]{0,1000})", re.IGNORECASE)  # limits: a hostile page costs no time
_LFS = b"version https://git-lfs.github.com/spec/"


def refuse_pages(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Return all chunks unchanged; raise an error if they are a web page or an error text instead of a checkpoint.

    The first chunks are read in this call. Each remaining chunk is read when the caller asks for it.

    Raises:
        IntegrityError: no bytes came, or they are HTML, XML, JSON or a Git LFS pointer (a text instead of a file).
    """
    start = _read_start(chunks, HEAD)
    kind = _name_kind(start)
    if kind is None:
        return chain([start], chunks)
    whole = start + _read_start(chunks, PAGE - len(start))
    size = f"more than {PAGE}" if len(whole) >= PAGE else str(len(whole))
    raise IntegrityError(f"expected a checkpoint file, got {size} bytes{kind}{_quote_title(whole)}")


def read_title(data: bytes) -> str:
    """Return the title of a web page in printable characters; empty if the page has none."""
    found = _TITLE.search(data)
    return make_printable(html.unescape(found[1].decode("utf-8", "replace"))) if found else ""


def make_printable(text: str, most: int = 100) -> str:
    """Prepare a text for a message: put it on one line without control characters, at most ``most`` characters long."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= most else line[: most - 3] + "..."


def _read_start(chunks: Iterator[bytes], size: int) -> bytes:
    start = bytearray()
    for chunk in chunks:
        start += chunk
        if len(start) >= size:
            break
    return bytes(start)


def _name_kind(start: bytes) -> str | None:
    """Say what the first bytes of a file are, if they are surely no checkpoint; None if they may be a checkpoint.

    Returns:
        A text to put after the number of bytes in a message, such as ``" of text/html"`` for the message ``got 2412
        bytes of text/html``. An empty text if there are no bytes.
    """
    if not start:
        return ""
    if _CONTROL.search(start[:HEAD]):
        return None
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        return " of text/xml" if text.startswith(b"<?xml") else " of text/html"
    if text.startswith((b"{", b"[")):
        return " of application/json"
    return " that point to a file in Git LFS" if text.startswith(_LFS) else None


def _quote_title(data: bytes) -> str:
    words = read_title(data)
    return f' ("{words}")' if words else ""
