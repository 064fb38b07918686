"""Market-1501 (Zheng et al., ICCV 2015): 1,501 people, 6 cameras, cropped by a detector.

``0002_c1s1_000451_03.jpg`` shows pid 2, seen by camera 1. Badly cropped images (junk) have pid -1 and are not read.
Distractors have pid 0 and stay in the gallery; they show nobody who is in a query image.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from reidhub.datasets.boxes import FOLDERS, Layout, Naming
from reidhub.datasets.counts import Counts, find_published_counts
from reidhub.datasets.folders import find_root
from reidhub.datasets.records import RetrievalSet

FOLDER = "market1501/Market-1501-v15.09.15, with query and bounding_box_test in it"
_PLACES = ("market1501/Market-1501-v15.09.15", "Market-1501-v15.09.15", "market1501", "")
NAMING = Naming(re.compile(r"(?P<pid>-1|\d{1,9})_c(?P<camera>\d{1,9})s\d+_"), "0002_c1s1_000451_03.jpg")


def read(data_root: Path, *, allow_partial: bool = False) -> RetrievalSet:
    """Read Market-1501 below ``data_root``.

    Raises:
        DatasetNotFoundError: no folder below ``data_root`` holds a copy.
        DatasetError: a file's name has no pid or camera, or the copy is incomplete and ``allow_partial`` is False.
    """
    root = find_root("market1501", data_root, _PLACES, tuple(FOLDERS.values()))
    counts = find_published_counts("market1501")
    return read_layout(root, name="market1501", title="Market-1501", counts=counts, allow_partial=allow_partial)


def read_layout(
    root: Path, *, name: str, title: str, counts: Mapping[str, Counts] | None = None, allow_partial: bool = False
) -> RetrievalSet:
    """Read any dataset in Market-1501's layout.

    Args:
        root: folder that contains ``query`` and ``bounding_box_test``.
        name: key of the dataset registry.
        title: the dataset's own name.
        counts: expected numbers of images, people and cameras of ``query`` and ``gallery``, without junk (images with
            pid -1); None if not known.
        allow_partial: accept a copy with other numbers; the field ``partial`` of the result describes the difference.

    Raises:
        DatasetError: a folder cannot be read, a file's name has no pid or camera, a split is empty, or the copy has
            other numbers and ``allow_partial`` is False.
    """
    return Layout(name, title, NAMING, counts).read(root, allow_partial=allow_partial)
