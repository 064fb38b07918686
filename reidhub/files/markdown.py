"""Writes plain text as Markdown, with all special characters escaped, so that a text cannot become code or a link."""

import re
from collections.abc import Sequence

_SPECIAL = re.compile(r"[\\`*\[\]<>&|~$#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")  # `_` inside a word is plain text


def escape_markdown(text: str) -> str:
    """Return a text on one line, in which no character has a meaning in Markdown or HTML."""
    return _SPECIAL.sub(r"\\\g<0>", join_lines(text))


def join_lines(text: str) -> str:
    """Return the lines of a text as one line, separated by semicolons."""
    return "; ".join(text.splitlines())


def write_markdown(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Return a table in the syntax of GitHub's Markdown.

    Args:
        header: column titles.
        rows: the cells of each row, as plain text.
        right: titles of the columns that are aligned to the right.
    """
    lines = [[escape_markdown(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * (width - 1) + (":" if title in right else "-") for title, width in zip(header, widths, strict=True)]
    aligned = [str.rjust if title in right else str.ljust for title in header]
    return "\n".join(
        f"| {' | '.join(align(cell, width) for align, cell, width in zip(aligned, line, widths, strict=True))} |"
        for line in (lines[0], rule, *lines[1:])
    )
