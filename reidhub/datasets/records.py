"""The result of reading a dataset: records in a fixed order, and a fingerprint of the copy."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a person.

    Args:
        path: path of the image file.
        pid: number of the person, 0 or above. In Market-1501, all distractors (people in no query image) have pid 0.
        camid: number of the camera, counted from 0.
    """

    path: Path
    pid: int
    camid: int


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a classification dataset.

    Args:
        path: path of the image file.
        label: position of the class in the sorted list of class names, from 0.
    """

    path: Path
    label: int


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Query and gallery of a re-ID dataset, without junk (images with pid -1).

    Args:
        name: key of the dataset registry.
        title: the dataset's own name.
        version: ``V1`` or ``V2`` for MSMT17; None for datasets with one version.
        root: folder that contains the splits.
        query: records in the order of file names or, for MSMT17, of the list file.
        gallery: records of the gallery images, sorted like ``query``.
        fingerprint: hash of the files' names, labels and sizes; see `compute_fingerprint`.
        partial: how the copy differs from the published counts, in words; None if it does not differ, or if no counts
            are known.
    """

    name: str
    title: str
    version: str | None
    root: Path
    query: tuple[Record, ...]
    gallery: tuple[Record, ...]
    fingerprint: str
    partial: str | None


@dataclass(frozen=True, slots=True)
class ClassificationSet:
    """Labelled images of a classification dataset.

    Args:
        name: key of the dataset registry.
        title: the dataset's own name.
        root: folder that contains the class folders.
        images: images of the first class, then of the second, and so on; within a class, in the order of file names.
        fingerprint: hash of the files' names, labels and sizes; see `compute_fingerprint`.
        partial: how the copy differs from the published counts, in words; None if it does not differ, or if no counts
            are known.
    """

    name: str
    title: str
    root: Path
    images: tuple[LabelledImage, ...]
    fingerprint: str
    partial: str | None


def compute_fingerprint(root: Path, splits: Mapping[str, Iterable[Record | LabelledImage]]) -> str:
    """Compute a hash of the names, labels and sizes of a dataset's files, to tell copies apart; open no image.

    Args:
        root: folder that contains all images.
        splits: name of a split -> its images, in any order.

    Returns:
        Hexadecimal sha256 of the sorted lines ``split TAB path below root TAB labels TAB size NEWLINE``. Paths have
        forward slashes. The labels are pid and camid with a comma between them, or the class label. The size is in
        bytes. A name that is not UTF-8 is hashed as its bytes on the disk. The same copy has the same
        fingerprint on every machine.
    """
    lines = sorted(_make_line(root, split, image) for split, images in splits.items() for image in images)
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _make_line(root: Path, split: str, image: Record | LabelledImage) -> str:
    labels = f"{image.pid},{image.camid}" if isinstance(image, Record) else str(image.label)
    return f"{split}\t{image.path.relative_to(root).as_posix()}\t{labels}\t{image.path.stat().st_size}\n"
