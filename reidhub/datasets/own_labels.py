"""The labels of users' own images: whatever names people and cameras have, they become numbers by one rule."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from reidhub.datasets.records import Record

_WHOLE = re.compile(r"-?[0-9]{1,18}")  # fits into 64 bits


@dataclass(frozen=True, slots=True)
class Entry:
    """One image with the labels that the user wrote.

    Args:
        path: path of the image file.
        pid: the person, such as ``0007`` or ``anna``.
        camid: the camera, such as ``2`` or ``entrance``.
    """

    path: Path
    pid: str
    camid: str


def make_records(splits: Mapping[str, Sequence[Entry]]) -> dict[str, tuple[Record, ...]]:
    """Turn the labels into numbers, and leave out junk (images with a negative pid).

    Args:
        splits: name of a split -> its images. A label means the same in all splits.

    Returns:
        Name of a split -> its records, in the order of ``splits``. See `number_labels` for the numbers.
    """
    pids = number_labels(entry.pid for entry in chain.from_iterable(splits.values()))
    camids = number_labels(entry.camid for entry in chain.from_iterable(splits.values()))
    return {
        split: tuple(Record(e.path, pids[e.pid], camids[e.camid]) for e in entries if pids[e.pid] >= 0)
        for split, entries in splits.items()
    }


def number_labels(labels: Iterable[str]) -> dict[str, int]:
    """Return the number of each label.

    If all labels are whole numbers, they keep their values: ``0007`` and ``7`` are both 7. Otherwise all labels are
    names. They are sorted, and get the numbers from 0.
    """
    known = set(labels)
    if all(_WHOLE.fullmatch(label) for label in known):
        return {label: int(label) for label in known}
    return {label: number for number, label in enumerate(sorted(known))}
