"""Boxes in the files of the MOT challenge: ``det.txt``, ``gt.txt``, and the results of trackers.

A line is ``frame,id,x,y,width,height,...``; x and y count from 1. The format is described in arXiv 1603.00831:
an id of -1 means no id, and a 0 in the seventh column of ``gt.txt`` marks a box that is not scored.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from reidhub.datasets.csv_table import explain
from reidhub.errors import DatasetError
from reidhub.retrieval.inputs.addresses import explain_errors
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.inputs.patterns import is_image_name
from reidhub.retrieval.inputs.storage import FileInfo, join, list_folder

_FEWEST = 6  # columns
_LARGEST_FRAME = 1 << 53  # floats above are no exact integers
_LONGEST_LINE = 10_000  # characters


class _Row(NamedTuple):
    frame: int
    label: str | None
    left: float
    top: float
    right: float
    bottom: float


def is_mot(file: Path) -> bool:
    """Return True if a file's first line that is not empty has six numbers or more, and nothing else.

    Raises:
        OSError: the file cannot be read.
    """
    with file.open(encoding="utf-8-sig", errors="replace") as text:
        while line := text.readline(_LONGEST_LINE):
            if line.strip():
                return _read_numbers(line) is not None
    return False


def list_mot(file: Path, folder: FileInfo) -> Iterator[Input]:
    """Yield the boxes of a MOT file in its order.

    Args:
        file: the MOT file. Boxes with an id and a 0 in the seventh column are left out.
        folder: the folder of frames. An image is named by the number of its frame: ``000001.jpg`` is frame 1.

    Raises:
        DatasetError: a line does not have the form of MOT; the folder has no numbered images, or two with one number.
    """
    frames = _find_frames(folder)
    suffix = next(iter(frames.values())).path.rpartition(".")[2]
    for row in _read(file):
        found = frames.get(row.frame) or FileInfo(join(folder.path, f"{row.frame:06}.{suffix}"))
        yield Input(found.path, found.size, found.modified_ns, box=row[2:], id=row.label)


def _find_frames(folder: FileInfo) -> dict[int, FileInfo]:
    frames: dict[int, FileInfo] = {}
    for found in list_folder(folder.path, is_image_name):
        stem = found.path.rsplit("/", 1)[-1].partition(".")[0]
        if found.is_folder or not (stem.isascii() and stem.isdigit()) or len(stem) > 18:
            continue
        if before := frames.get(int(stem)):
            raise DatasetError(f"two images are frame {int(stem)}: {before.path} and {found.path}")
        frames[int(stem)] = found
    if not frames:
        raise DatasetError(
            f"{folder.path} has no images whose names are frame numbers",
            hint="with boxes of MOT, INPUT is the folder of frames, such as MOT17-02/img1 with 000001.jpg",
        )
    return frames


def _read(file: Path) -> Iterator[_Row]:
    with explain_errors(str(file)), file.open(encoding="utf-8-sig", errors="replace") as text:
        number = 0
        while line := text.readline(_LONGEST_LINE):
            number += 1
            if not line.strip():
                continue
            numbers = _read_numbers(line)
            row = numbers and _make_row(numbers)
            if not numbers or not row:
                raise explain(
                    file, number, f"expected frame,id,x,y,width,height as numbers, got {line.strip()!r}"[:200]
                )
            ignored = row.label is not None and len(numbers) > _FEWEST and numbers[_FEWEST] == 0
            if not ignored:
                yield row


def _read_numbers(line: str) -> list[float] | None:
    """Return the numbers of a line, separated by commas or spaces; None if a cell is no number, or there are few."""
    try:
        numbers = [float(cell) for cell in line.strip().rstrip(",").replace(",", " ").split()]
    except ValueError:
        return None
    return numbers if len(numbers) >= _FEWEST else None


def _make_row(numbers: list[float]) -> _Row | None:
    """Return frame, id and edges; None if the frame or the id is no integer, or an edge is not finite."""
    frame, label, x, y, width, height = numbers[:_FEWEST]
    left, top = x - 1, y - 1
    if not all(map(math.isfinite, (frame, label, left, top, left + width, top + height))):
        return None
    if not (frame.is_integer() and label.is_integer() and 0 <= frame < _LARGEST_FRAME and abs(label) < _LARGEST_FRAME):
        return None
    return _Row(int(frame), None if label == -1 else str(int(label)), left, top, left + width, top + height)
