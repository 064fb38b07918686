"""The result of reading a dataset: records in a fixed order, and a fingerprint of the copy."""

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
    """One image of a class.

    Args:
        path: the file.
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
        query: records in the order of file names, or of the published lists.
        gallery: records in the same kind of order.
        fingerprint: fingerprint of names, labels and sizes; see `compute_fingerprint`.
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
        images: class by class; within a class, in the order of file names.
        fingerprint: fingerprint of names, labels and sizes; see `compute_fingerprint`.
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
    """Compute a fingerprint that differs if two copies of a dataset differ in names, labels or sizes; read no image.

    Args:
        root: folder that contains all images.
        splits: name of a split -> its images, in any order.

    Returns:
        Hexadecimal sha256 of the sorted lines ``split TAB path below root TAB labels TAB bytes NEWLINE``. Paths have
        forward slashes; the labels are pid and camid with a comma between them, or the class label. The same copy has
        the same fingerprint on every machine.
    """
    lines = sorted(_make_line(root, split, image) for split, images in splits.items() for image in images)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _make_line(root: Path, split: str, image: Record | LabelledImage) -> str:
    labels = f"{image.pid},{image.camid}" if isinstance(image, Record) else str(image.label)
    return f"{split}\t{image.path.relative_to(root).as_posix()}\t{labels}\t{image.path.stat().st_size}\n"
