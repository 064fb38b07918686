"""Print tables on stdout: drawn by the library rich on a terminal, as aligned text in a file or pipe."""

import sys
from collections.abc import Sequence
from typing import Literal

import click

_WORD = 12  # characters; shorter words are not broken if the terminal has room
_NARROW = 6  # characters; a column becomes narrower only if all columns but the first are this narrow


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print a table.

    Args:
        header: column titles.
        rows: the cells of each row, as many as titles; a cell may have several lines.
        right: titles of the columns that are aligned to the right.
    """
    if sys.stdout.isatty():
        _draw(header, rows, right)
    else:
        _write(header, rows, right)


def _draw(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(color_system=None)  # colours are escape sequences, and `SafeStream` shows these as text
    columns = [column for column in zip(header, *rows, strict=True) if any(column[1:]) or not rows]
    widths = [max(len(line) for cell in column for line in cell.split("\n")) for column in columns]
    gaps = len(columns) - 1
    roomy = sum(widths) + 3 * gaps + 2 <= console.width  # one column is left free at both edges
    if not roomy:
        words = [max((len(word) for cell in column for word in cell.split()), default=0) for column in columns]
        least = [  # users copy the first column, and numbers are easier to read on one line
            width if place == 0 or columns[place][0] in right else min(words[place], _WORD)
            for place, width in enumerate(widths)
        ]
        widths = _fit_widths(widths, least, console.width - gaps - 2)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if roomy else (0, 0))
    for (title, *_), width in zip(columns, widths, strict=True):
        justify: Literal["right", "left"] = "right" if title in right else "left"
        table.add_column(title, justify=justify, overflow="fold", width=width)
    for row in zip(*(cells for _, *cells in columns), strict=True):
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _fit_widths(wanted: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Choose the widths of columns that have too little room.

    Each column gets its least width, and the columns that lack most share the rest. If there is not even room for that,
    the last columns become narrower first, and the first column keeps its width.

    Args:
        wanted: the width of each column without line breaks.
        least: the width of each column in which no word is broken.
        room: the largest sum of the widths.
    """
    widths = list(least)
    while sum(widths) < room and widths != list(wanted):
        widths[max(range(len(widths)), key=lambda place: wanted[place] - widths[place])] += 1
    for floor in (_NARROW, 1):
        for place in range(len(widths) - 1, 0, -1):
            widths[place] -= max(0, min(sum(widths) - room, widths[place] - floor))
    return widths


def _write(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    lines = [[cell.replace("\n", "; ") for cell in row] for row in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    aligned = [str.rjust if title in right else str.ljust for title in header]
    texts = []
    for line in lines:
        cells = [align(cell, width) for align, cell, width in zip(aligned, line, widths, strict=True)]
        texts.append("  ".join(cells).rstrip())
    click.echo("\n".join(texts))


def format_count(number: int, noun: str) -> str:
    """Format a number with its noun: ``1 file``, ``2 files``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_size(size: int | None) -> str:
    """Format a number of bytes in MB (10^6 bytes) with one decimal; ``?`` for None."""
    return "?" if size is None else f"{size / 1e6:.1f} MB"
