"""Fit text into the width of a terminal, so that no word is broken."""

import os
from typing import IO


def find_width(stream: IO[str]) -> int | None:
    """Return the number of columns of the terminal that a stream writes to; None if it is not a terminal."""
    if not stream.isatty():
        return None
    try:
        return int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def wrap_line(line: str, room: int, *, first: str = "", hang: str = "") -> list[str]:
    """Split a line between words so that it fits; a single word that does not fit stays whole.

    Args:
        line: text without line feeds.
        room: number of columns.
        first: text before the first word.
        hang: text before the first word of every further line.
    """
    if measure(first + line) <= room:
        return [first + line]
    from textwrap import wrap  # takes a millisecond to import, and most lines fit

    spaces = len(line) - len(line.lstrip(" "))
    lines = wrap(
        line.lstrip(" "),
        max(room, 1),
        initial_indent=first + " " * spaces,
        subsequent_indent=" " * spaces + hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [""]


def measure(text: str) -> int:
    """Return the number of columns that a text takes on a terminal; East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(1 + (east_asian_width(sign) in "WF") - bool(combining(sign)) for sign in text)
