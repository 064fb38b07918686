"""Boxes of people in images, from a CSV or Parquet table, or from MOT's ``det.txt`` and ``gt.txt``."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from reidhub.datasets.csv_table import read_rows
from reidhub.errors import DatasetError, UsageError
from reidhub.inference.boxes import Box
from reidhub.retrieval.inputs.addresses import explain_errors
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.inputs.mot import is_mot, list_mot
from reidhub.retrieval.inputs.parquet_files import read_table, resolve
from reidhub.retrieval.inputs.storage import FileInfo, describe_entry

_EDGES = ("x1", "y1", "x2", "y2")
_COLUMNS = ("image", *_EDGES)
_HINT = (
    "a CSV file of boxes has the first line image,x1,y1,x2,y2 or image,x1,y1,x2,y2,id; a MOT file has lines "
    "frame,id,x,y,width,height without a first line of names"
)
_REMEMBERED = 4096  # images whose size and time are kept in memory: boxes of one image are near each other


def list_boxes(file: Path, folder: FileInfo | None) -> Iterator[Input]:
    """Yield the boxes of a file, in its order.

    Args:
        file: a CSV, Parquet or MOT file.
        folder: the folder of the images, or of the frames of a MOT file; None for the folder of ``file``.

    Raises:
        DatasetError: the file cannot be read, has other columns or no boxes; or the edges in a row are not four finite
            numbers. The message names the file and the line or row.
        UsageError: ``file`` is a MOT file, and no folder of frames was given.
    """
    count = 0
    for found in _read(file, folder):
        count += 1
        yield found
    if not count:
        raise DatasetError(f"{file} has no boxes", hint=_HINT)


def _read(file: Path, folder: FileInfo | None) -> Iterator[Input]:
    start = folder.path if folder else f"{file.parent}"
    start = "" if start == "." and not folder else start
    if file.suffix.lower() == ".parquet":
        yield from _list_rows(_read_parquet(file), start)
        return
    with explain_errors(str(file)):
        mot = is_mot(file)
    if not mot:
        yield from _list_rows(_read_csv(file), start)
    elif folder is None:
        raise UsageError(
            f"{file} is a MOT file: its images are the frames of a folder",
            hint=f"give the folder of the frames: INPUT --boxes {file}",
        )
    else:
        yield from list_mot(file, folder)


def _list_rows(rows: Iterator[tuple[str, Box, str | None]], folder: str) -> Iterator[Input]:
    find = lru_cache(_REMEMBERED)(describe_entry)
    for image, box, label in rows:
        found = find(resolve(image, folder))
        yield Input(found.path, found.size, found.modified_ns, box=box, id=label)


def _read_csv(file: Path) -> Iterator[tuple[str, Box, str | None]]:
    with explain_errors(str(file)):
        for row in read_rows(file, _COLUMNS, lambda missing: _HINT, optional=["id"]):
            cells = [row.cells[name] for name in _EDGES]
            box = make_box(cells)
            if box is None:
                raise row.explain(f"expected four numbers x1,y1,x2,y2, got {','.join(cells)}"[:200])
            yield row.cells["image"], box, row.cells.get("id") or None


def _read_parquet(file: Path) -> Iterator[tuple[str, Box, str | None]]:
    for row, (image, *edges, label) in read_table(str(file), _COLUMNS, optional=["id"]):
        box = make_box(edges)
        if not isinstance(image, str) or not image or box is None or not isinstance(label, str | int | None):
            raise DatasetError(
                f"{file}: row {row}: expected image (text), x1, y1, x2, y2 (numbers) and id (text or integer), "
                f"got {[image, *edges, label]!r}"[:400]
            )
        yield image, box, None if label is None else str(label)


def make_box(edges: Sequence[object]) -> Box | None:
    """Return four numbers or texts as a box; None if one is no finite number."""
    try:
        numbers = [float(edge) for edge in edges if isinstance(edge, str | int | float)]
    except (ValueError, OverflowError):
        return None
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        return None
    left, top, right, bottom = numbers
    return left, top, right, bottom
