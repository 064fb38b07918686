"""Reads the rows of a CSV file by the names of its columns, one by one: a table may have many million rows."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reidhub.datasets.folders import printable
from reidhub.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Args:
        file: the table.
        line: number of the line, from 1.
        cells: name of a column -> content of its cell, without spaces around it.
    """

    file: Path
    line: int
    cells: dict[str, str]

    def explain(self, problem: str) -> DatasetError:
        """Return an error that names file and line."""
        return explain(self.file, self.line, problem)


def read_rows(
    file: Path, columns: Sequence[str], suggest: Callable[[Sequence[str]], str], optional: Sequence[str] = ()
) -> Iterator[Row]:
    """Yield the rows of a CSV file whose first line names the columns.

    Args:
        file: a file in UTF-8, with or without a byte order mark.
        columns: columns that must exist and have something in each row. Other columns are ignored.
        suggest: makes the hint of an error from the missing columns.
        optional: columns that may be missing, and may be empty.

    Raises:
        DatasetError: a column is missing or is there twice; or a line has more or fewer cells than the first line, or
            nothing in one of ``columns``. The message names file and line.
        OSError: the file cannot be read.
    """
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            places = _find_columns(file, header, columns, suggest)
            places |= {name: header.index(name) for name in optional if name in header}
            for cells in reader:
                if not cells:  # an empty line
                    continue
                if len(cells) != len(header):
                    raise explain(file, reader.line_num, f"expected {len(header)} columns, got {len(cells)}")
                row = Row(file, reader.line_num, {name: cells[place].strip() for name, place in places.items()})
                if empty := [name for name in columns if not row.cells[name]]:
                    raise row.explain(f"nothing in the column {', '.join(empty)}")
                yield row
        except csv.Error as error:
            raise explain(file, reader.line_num, f"the line is not CSV: {error}") from error


def _find_columns(
    file: Path, header: list[str], columns: Sequence[str], suggest: Callable[[Sequence[str]], str]
) -> dict[str, int]:
    """Return the index of each column in the lines of a table."""
    found = f"got {', '.join(header) or 'an empty line'}"
    if missing := [name for name in columns if name not in header]:
        raise explain(file, 1, f"missing columns: {', '.join(missing)}; {found}", suggest(missing))
    if twice := [name for name in columns if header.count(name) > 1]:
        raise explain(file, 1, f"columns that are there twice: {', '.join(twice)}; {found}", suggest([]))
    return {name: header.index(name) for name in columns}


def explain(file: Path, line: int, problem: str, hint: str | None = None) -> DatasetError:
    """Return an error that names the line of a file."""
    return DatasetError(printable(f"{file}:{line}: {problem}"), hint=hint)
