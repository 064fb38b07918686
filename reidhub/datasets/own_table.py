"""Reads users' own images from a CSV file with the columns ``path``, ``pid``, ``camid`` and ``split``.

A table may have a million rows, so it is read row by row, and equal labels share one string.
"""

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reidhub.datasets.folders import printable
from reidhub.datasets.own_labels import Entry
from reidhub.errors import DatasetError

SPLITS = ("query", "gallery")
_COLUMNS = ("path", "pid", "camid", "split")
_HINT = "the first line names the columns; columns are separated by commas: path,pid,camid,split"


def read_table(file: Path, *, ignore_cameras: bool) -> dict[str, list[Entry]]:
    """Read the images of a CSV file, in the order of its lines.

    Args:
        file: a file in UTF-8, with or without a byte order mark. A path in it is absolute, or relative to the folder
            of the file. Columns other than the four are ignored.
        ignore_cameras: read no column ``camid``; all images get the same camera.

    Returns:
        ``query`` and ``gallery`` -> their images. Whether the image files exist is not checked.

    Raises:
        DatasetError: columns are missing, or a line has other columns than the first line, an empty cell, an unknown
            split, or a path that its split has already. The message names file and line.
        OSError: the file cannot be read.
    """
    splits: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    seen: dict[str, set[str]] = {split: set() for split in SPLITS}
    for row in _read_rows(file, _COLUMNS[:2] + _COLUMNS[3:] if ignore_cameras else _COLUMNS):
        cells = row.cells
        if cells["split"] not in splits:
            raise row.explain(f"expected the split query or gallery, got {cells['split']!r}")
        path = Path(file.parent, cells["path"])
        if str(path) in seen[cells["split"]]:
            raise row.explain(f"{cells['path']!r} is in {cells['split']} twice")
        seen[cells["split"]].add(str(path))
        splits[cells["split"]].append(Entry(path, sys.intern(cells["pid"]), sys.intern(cells.get("camid", "0"))))
    return splits


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a table: name of a column -> what stands in the line."""

    file: Path
    line: int
    cells: dict[str, str]

    def explain(self, problem: str) -> DatasetError:
        return _explain(self.file, self.line, problem)


def _read_rows(file: Path, columns: tuple[str, ...]) -> Iterator[_Row]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            places = _find_columns(file, header, columns)
            for cells in reader:
                if not cells:  # an empty line
                    continue
                if len(cells) != len(header):
                    raise _explain(file, reader.line_num, f"expected {len(header)} columns, got {len(cells)}")
                row = _Row(file, reader.line_num, {name: cells[place].strip() for name, place in places.items()})
                if empty := [name for name, cell in row.cells.items() if not cell]:
                    raise row.explain(f"nothing in the column {', '.join(empty)}")
                yield row
        except csv.Error as error:
            raise _explain(file, reader.line_num, f"the line is not CSV: {error}") from error


def _find_columns(file: Path, header: list[str], columns: tuple[str, ...]) -> dict[str, int]:
    """Return the place of each column in the lines of a table."""
    found = f"got {', '.join(header) or 'an empty line'}"
    if missing := [name for name in columns if name not in header]:
        hint = "--cameras ignore needs no camid" if list(missing) == ["camid"] else _HINT
        raise _explain(file, 1, f"missing columns: {', '.join(missing)}; {found}", hint)
    if twice := [name for name in columns if header.count(name) > 1]:
        raise _explain(file, 1, f"columns that are there twice: {', '.join(twice)}; {found}", _HINT)
    return {name: header.index(name) for name in columns}


def _explain(file: Path, line: int, problem: str, hint: str | None = None) -> DatasetError:
    return DatasetError(printable(f"{file}:{line}: {problem}"), hint=hint)
