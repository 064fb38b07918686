"""Tells from the names of two files whether they show the same person."""

from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from reidhub.datasets import dukemtmcreid, market1501
from reidhub.datasets.records import Record
from reidhub.errors import DatasetError

Mark = Literal["right", "wrong", "same camera", "junk"]
"""The mark of a gallery image for one query.

``right``: the person of the query, seen by another camera. ``wrong``: another person. ``same camera``: the person of
the query, seen by the same camera; published scores leave such images out. ``junk``: a badly cropped image with pid -1;
published scores leave it out too.
"""
MARKS: tuple[Mark, ...] = get_args(Mark)

_NAMINGS = (market1501.NAMING, dukemtmcreid.NAMING)


def mark_image(query: str, image: str) -> Mark | None:
    """Compare the names of two image files.

    Args:
        query: path of the query.
        image: path of an image of the gallery.

    Returns:
        The mark of the image; None for a junk query, and unless both files are named as in Market-1501
        (``0002_c1s1_000451_03.jpg``) or DukeMTMC-reID (``0005_c2_f0046985.jpg``).
    """
    asked, found = _read_labels(query), _read_labels(image)
    if asked is None or found is None or asked.pid < 0:  # nobody knows who a badly cropped query shows
        return None
    if found.pid < 0:
        return "junk"
    if found.pid != asked.pid:
        return "wrong"
    return "same camera" if found.camid == asked.camid else "right"


@lru_cache(maxsize=4096)
def _read_labels(path: str) -> Record | None:
    """Read pid and camera from the name of a file; None if it is named in another way."""
    for naming in _NAMINGS:
        try:
            return naming.read_record(Path(path))
        except DatasetError:
            continue
    return None
