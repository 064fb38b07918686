"""A look at the first bytes: pages, error texts and pointer files that hosts send in a file's place are told apart.

Only what is recognisably no checkpoint is refused; whether the rest is one, its size, digest and reader say.
"""

import html
import re
from collections.abc import Iterator
from itertools import chain

from reidhub.errors import IntegrityError

HEAD = 1024  # bytes that are enough to tell
PAGE = 256 * 1024  # bytes of a page that are read, to count it and to find its title

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # never in a text, soon in any binary file
_LFS = b"version https://git-lfs.github.com/spec/"


def looked_at(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, after their start was looked at; that start is read at once, not when the result is.

    Raises:
        IntegrityError: nothing came, or a page, a JSON text or a Git LFS pointer.
    """
    start = _take(chunks, HEAD)
    kind = _kind(start)
    if kind is None:
        return chain([start], chunks)
    whole = start + _take(chunks, PAGE - len(start))
    size = f"more than {PAGE}" if len(whole) >= PAGE else str(len(whole))
    raise IntegrityError(f"expected a checkpoint file, got {size} bytes{kind}{_own_words(whole)}")


def page_words(data: bytes) -> str:
    """What a page says of itself: its title, in printable characters; empty where it has none."""
    found = re.search(rb"<title[^>]*>(.*?)</title>", data, re.IGNORECASE | re.DOTALL)
    return printable(html.unescape(found[1].decode("utf-8", "replace"))) if found else ""


def printable(text: str, most: int = 100) -> str:
    """Text of a stranger, made fit for a message: one line, no control characters, at most ``most`` characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= most else line[: most - 3] + "..."


def _take(chunks: Iterator[bytes], most: int) -> bytes:
    taken = bytearray()
    for chunk in chunks:
        taken += chunk
        if len(taken) >= most:
            break
    return bytes(taken)


def _kind(start: bytes) -> str | None:
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


def _own_words(data: bytes) -> str:
    words = page_words(data)
    return f' ("{words}")' if words else ""
