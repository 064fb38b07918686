"""Market-1501 (Zheng et al., ICCV 2015): 1,501 people, 6 cameras, boxes of a detector.

``0002_c1s1_000451_03.jpg`` is pid 2 seen by camera 1. Pid -1 marks junk boxes, which are dropped; pid 0 marks
distractors, which stay in the gallery.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from reidhub.datasets.boxes import FOLDERS, Layout, Naming
from reidhub.datasets.counts import Counts, published_counts
from reidhub.datasets.folders import find_root
from reidhub.datasets.records import RetrievalSet

FOLDER = "market1501/Market-1501-v15.09.15, with query and bounding_box_test in it"
_PLACES = ("market1501/Market-1501-v15.09.15", "Market-1501-v15.09.15", "market1501", "")
_NAMING = Naming(re.compile(r"(?P<pid>-1|\d+)_c(?P<camera>\d+)s\d+_"), "0002_c1s1_000451_03.jpg")


def read(data_root: Path, *, allow_partial: bool = False) -> RetrievalSet:
    """Read Market-1501 below ``data_root``.

    Raises:
        DatasetNotFoundError: it is not there.
        DatasetError: a file's name does not fit, or the copy is not whole.
    """
    root = find_root("market1501", data_root, _PLACES, tuple(FOLDERS.values()))
    counts = published_counts("market1501")
    return read_layout(root, name="market1501", title="Market-1501", counts=counts, allow_partial=allow_partial)


def read_layout(
    root: Path, *, name: str, title: str, counts: Mapping[str, Counts] | None = None, allow_partial: bool = False
) -> RetrievalSet:
    """Read any dataset in Market-1501's layout.

    Args:
        root: folder that holds ``query`` and ``bounding_box_test``.
        name: key of the dataset registry.
        title: the dataset's own name.
        counts: ``query`` and ``gallery`` -> what they must hold, junk not counted; None where that is not known.
        allow_partial: take a copy with other counts, and say so in ``partial``.

    Raises:
        DatasetError: a folder cannot be read, a file's name does not fit, or the counts differ.
    """
    return Layout(name, title, _NAMING, counts).read(root, allow_partial=allow_partial)
