"""DukeMTMC-reID (Zheng et al., ICCV 2017): 8 cameras; ``0005_c2_f0046985.jpg`` shows pid 5, seen by camera 2.

The owners withdrew the dataset in 2019, because of the privacy of the people in the images. reidhub never downloads the
dataset or links to it. Only users who already have a copy, and who may use it, can measure scores.
"""

import re
from pathlib import Path

from reidhub.datasets.boxes import FOLDERS, Layout, Naming
from reidhub.datasets.counts import find_published_counts
from reidhub.datasets.folders import find_root
from reidhub.datasets.records import RetrievalSet

FOLDER = "dukemtmc-reid/DukeMTMC-reID, with query and bounding_box_test in it"
_PLACES = ("dukemtmc-reid/DukeMTMC-reID", "DukeMTMC-reID", "dukemtmcreid/DukeMTMC-reID", "dukemtmc-reid", "")
NAMING = Naming(re.compile(r"(?P<pid>\d{1,9})_c(?P<camera>\d{1,9})_f\d+"), "0005_c2_f0046985.jpg")


def read(data_root: Path, *, allow_partial: bool = False) -> RetrievalSet:
    """Read a copy of DukeMTMC-reID below ``data_root``.

    Raises:
        DatasetNotFoundError: no folder below ``data_root`` holds a copy.
        DatasetError: a file's name has no pid or camera, or the copy is incomplete and ``allow_partial`` is False.
    """
    root = find_root("dukemtmcreid", data_root, _PLACES, tuple(FOLDERS.values()))
    layout = Layout("dukemtmcreid", "DukeMTMC-reID", NAMING, find_published_counts("dukemtmcreid"))
    return layout.read(root, allow_partial=allow_partial)
