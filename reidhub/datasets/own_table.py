"""Reads users' own images from a CSV file with the columns ``path``, ``pid``, ``camid`` and ``split``.

A table may have a million rows, so it is read row by row, and equal labels share one string.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from reidhub.datasets.csv_table import read_rows
from reidhub.datasets.own_labels import Entry

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
    for row in read_rows(file, _COLUMNS[:2] + _COLUMNS[3:] if ignore_cameras else _COLUMNS, _suggest):
        cells = row.cells
        if cells["split"] not in splits:
            raise row.explain(f"expected the split query or gallery, got {cells['split']!r}")
        path = Path(file.parent, cells["path"])
        if str(path) in seen[cells["split"]]:
            raise row.explain(f"{cells['path']!r} is in {cells['split']} twice")
        seen[cells["split"]].add(str(path))
        splits[cells["split"]].append(Entry(path, sys.intern(cells["pid"]), sys.intern(cells.get("camid", "0"))))
    return splits


def _suggest(missing: Sequence[str]) -> str:
    return "--cameras ignore needs no camid" if list(missing) == ["camid"] else _HINT
