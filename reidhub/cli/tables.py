"""Print tables on stdout: drawn by the library rich on a terminal, as aligned text in a file or pipe."""

import sys
from collections.abc import Sequence
from typing import Literal

import click

_WORD = 12  # characters; a column of at most this width is never wrapped


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

    console = Console()
    columns = [column for column in zip(header, *rows, strict=True) if any(column[1:]) or not rows]
    widths = [max(len(line) for cell in column for line in cell.split("\n")) for column in columns]
    roomy = sum(widths) + 3 * (len(widths) - 1) <= console.width
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if roomy else (0, 0))
    for place, (title, *_) in enumerate(columns):  # the first column is never wrapped, because users copy it
        justify: Literal["right", "left"] = "right" if title in right else "left"
        table.add_column(title, justify=justify, overflow="fold", no_wrap=place == 0 or widths[place] <= _WORD)
    for row in zip(*(cells for _, *cells in columns), strict=True):
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


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
