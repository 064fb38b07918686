"""What a dataset is once it has been read: records in a fixed order, and what identifies the copy."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a person.

    Args:
        path: the file.
        pid: identity, 0 or above; 0 is shared by all distractors of Market-1501.
        camid: camera, counted from 0.
    """

    path: Path
    pid: int
    camid: int


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a class; ``label`` counts from 0 in the order of the classes' names."""

    path: Path
    label: int


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Query and gallery of a re-ID dataset, junk already dropped.

    Args:
        name: key of the dataset registry.
        title: the dataset's own name.
        version: where several are in use under one name: ``V1`` or ``V2`` of MSMT17.
        root: folder the splits lie in.
        query: in file name order, or in the order of the published lists.
        gallery: likewise.
        fingerprint: sha256 over names, labels and sizes, see `fingerprint_of`; the same on every machine.
        partial: how the copy differs from the published counts; None where it does not, or none are known.
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
        root: folder the class folders lie in.
        images: class after class, in file name order within each.
        fingerprint: see `fingerprint_of`.
        partial: how the copy differs from the published counts; None where it does not, or none are known.
    """

    name: str
    title: str
    root: Path
    images: tuple[LabelledImage, ...]
    fingerprint: str
    partial: str | None


def fingerprint_of(root: Path, splits: Mapping[str, Iterable[Record | LabelledImage]]) -> str:
    """Tell copies of a dataset apart without reading an image.

    Args:
        root: folder all images lie below.
        splits: name of a split -> its images, in any order.

    Returns:
        sha256 in hex over the sorted lines ``split TAB path below root TAB labels TAB bytes NEWLINE``; the path has
        forward slashes, the labels are pid and camid joined by a comma, or the class label.
    """
    lines = sorted(_line(root, split, image) for split, images in splits.items() for image in images)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _line(root: Path, split: str, image: Record | LabelledImage) -> str:
    labels = f"{image.pid},{image.camid}" if isinstance(image, Record) else str(image.label)
    return f"{split}\t{image.path.relative_to(root).as_posix()}\t{labels}\t{image.path.stat().st_size}\n"
