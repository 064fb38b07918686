"""Print tables on stdout: for people on a terminal, as aligned text in a pipe, and as CSV, Markdown or LaTeX."""

import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import click

from reidhub.cli.options import Form
from reidhub.cli.wrapping import find_width, measure, wrap_line

Cell = str | int | float | None

_INDENT = "    "  # before the further lines of a row on a narrow terminal
_GAP = "  "  # between columns


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    right: Sequence[str] = (),
    form: Form = "table",
    shared: int = 0,
) -> None:
    """Print a table in one of the forms of ``--format``, except JSON.

    Args:
        header: column titles.
        rows: the cells of each row, as many as titles. None is an empty cell. CSV has numbers with all their digits;
            the other forms have three decimals. With ``table``, a cell may have several lines.
        right: titles of the columns that are aligned to the right.
        form: ``table`` prints for people. A row is one line of text in a file or pipe. On a terminal without room for
            all columns, a row takes several lines, so that no name is broken.
        shared: number of columns at the left that neighbouring rows have in common. On a narrow terminal, these cells
            are printed once, on a line above the rows.
    """
    if form == "csv":
        from reidhub.cli.markup import write_csv

        click.echo(write_csv(header, rows), nl=False)
        return
    texts = [[_format_cell(cell) for cell in row] for row in rows]
    if form != "table":
        from reidhub.cli.markup import write_latex
        from reidhub.files.markdown import write_markdown

        write = write_markdown if form == "markdown" else write_latex
        click.echo(write(*_drop_empty_columns(header, texts), right=right))
    elif room := find_width(sys.stdout):
        click.echo("\n".join(_draw(header, texts, right, shared, room)))
    else:
        lines = [[cell.replace("\n", "; ") for cell in row] for row in (header, *texts)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        click.echo("\n".join(_align(line, widths, [title in right for title in header]) for line in lines))


def print_fields(title: str, fields: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> None:
    """Print one thing with its fields: the title, then a line for each field and for each note.

    On a terminal, long texts are wrapped between words. A word that is too long for its column, such as an address,
    has a line of its own.

    Args:
        title: the first line.
        fields: name and text of each field; a text may have several lines.
        notes: sentences for the end.
    """
    click.echo("\n".join(_format_fields(title, fields, notes, find_width(sys.stdout))))


def _format_fields(
    title: str, fields: Sequence[tuple[str, str]], notes: Sequence[str], room: int | None
) -> Iterator[str]:
    yield title
    width = max(len(name) for name, _ in fields) + len(_INDENT)
    for name, text in fields:
        first = f"  {name}".ljust(width)
        for line in text.split("\n"):
            if room is None:
                yield (first + line).rstrip()
            else:
                longest = max(map(measure, line.split()), default=0)
                hang = " " * width if width + longest <= room else _INDENT
                yield from wrap_line(line, room, first=first, hang=hang)
            first = " " * width
    for note in notes:
        yield from [f"  {note}"] if room is None else wrap_line(note, room, first="  ", hang=_INDENT)


def _format_cell(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _drop_empty_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    kept = [place for place in range(len(header)) if any(row[place] for row in rows) or not rows]
    return [header[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _draw(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str], shared: int, room: int
) -> Iterator[str]:
    """Yield the lines of a table for a terminal of ``room`` columns.

    If the columns do not fit beside each other, each row becomes several lines of some columns each. The first of them
    is printed once for neighbouring rows in which it is the same. A line after the second, such as a note, is printed
    below the last of the neighbouring rows that share it.
    """
    header, rows = _drop_empty_columns(header, rows)
    limit = room - len(_INDENT)
    cells = [
        [[part for line in cell.split("\n") for part in wrap_line(line, limit)] for cell in row]
        for row in (header, *rows)
    ]
    widths = [max(measure(line) for cell in column for line in cell) for column in zip(*cells, strict=True)]
    parts = _split_columns(widths, shared, room)
    aligned = [title in right for title in header]

    def write(row: Sequence[Sequence[str]], part: slice) -> Iterator[str]:
        indent = _INDENT if part.start else ""
        for line in zip_longest(*row[part], fillvalue=""):
            if any(line):
                yield indent + _align(line, widths[part], aligned[part])

    titles = [line for part in parts for line in write(cells[0], part)]
    yield from titles
    yield _choose_dash() * max(map(measure, titles), default=0)
    before: Sequence[object] = ()
    for row, after in zip_longest(cells[1:], cells[2:], fillvalue=()):
        first = parts[0]
        for place, part in enumerate(parts):
            other = before if place == 0 else after if place > 1 else ()
            if len(parts) == 1 or (row[first], row[part]) != (other[first], other[part]):
                yield from write(row, part)
        before = row


def _split_columns(widths: Sequence[int], shared: int, room: int) -> list[slice]:
    """Put columns of these widths on as few lines as possible; return the columns of each line."""
    if sum(widths) + len(_GAP) * (len(widths) - 1) <= room:
        return [slice(0, None)]
    starts, end = [0], 0
    for place, width in enumerate(widths):
        end += width + len(_GAP) * (place != starts[-1])
        if place and (end > room or place == shared):
            starts.append(place)
            end = len(_INDENT) + width
    return [slice(start, stop) for start, stop in zip_longest(starts, starts[1:])]


def _align(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = []
    for cell, width, to_the_right in zip(line, widths, right, strict=True):
        space = " " * (width - measure(cell))
        cells.append(space + cell if to_the_right else cell + space)
    return _GAP.join(cells).rstrip()


def _choose_dash() -> str:
    try:
        "─".encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return "-"
    return "─"


def format_count(number: int, noun: str) -> str:
    """Format a number with its noun: ``1 file``, ``2 files``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_size(size: int | None) -> str:
    """Format a number of bytes in MB (10^6 bytes) with one decimal; ``?`` for None."""
    return "?" if size is None else f"{size / 1e6:.1f} MB"
