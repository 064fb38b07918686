"""The result of reading a dataset: records in a fixed order, and a fingerprint of the copy."""

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reidhub.datasets.folders import printable
from reidhub.errors import DatasetError

_SHOWN = 3  # missing files in a message


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
        version: such as ``V1`` or ``V2`` for MSMT17; None for datasets with one version.
        root: folder that contains the splits.
        query: records in the order of file names or, for MSMT17, of the list file.
        gallery: records of the gallery images, sorted like ``query``.
        fingerprint: hash of the files' names, labels and sizes; see `compute_fingerprint`.
        partial: how the copy differs from the published counts, in words; None if it does not differ, or if no counts
            are known.
        leave_one_out: each image is a query, and all other images are its gallery. ``query`` and ``gallery`` are then
            the same records, and each image has a camera of its own. The rule that leaves out images of the query's
            person and camera then leaves out the query image alone.
    """

    name: str
    title: str
    version: str | None
    root: Path
    query: tuple[Record, ...]
    gallery: tuple[Record, ...]
    fingerprint: str
    partial: str | None
    leave_one_out: bool = False

    @property
    def images(self) -> list[Path]:
        """The image files in the order of their embeddings: queries, then gallery; with leave-one-out, each once."""
        records = self.query if self.leave_one_out else (*self.query, *self.gallery)
        return [record.path for record in records]


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
        root: folder of the dataset. See `name_image` for images that are not below it.
        splits: name of a split -> its images, in any order.

    Returns:
        Hexadecimal sha256 of the sorted lines ``split TAB name of the image TAB labels TAB size NEWLINE``. The labels
        are pid and camid with a comma between them, or the class label. The size is in bytes. A name that is not UTF-8
        is hashed as its bytes on the disk. The same copy has the same fingerprint on every machine.

    Raises:
        DatasetError: image files are missing, or are no files; the message counts them and names the first ones.
    """
    lines: list[str] = []
    missing: list[Path] = []
    for split, images in splits.items():
        for image in images:
            size = _measure_file(image.path)
            if size is None:
                missing.append(image.path)
            else:
                lines.append(f"{split}\t{name_image(image.path, root)}\t{_write_labels(image)}\t{size}\n")
    if missing:
        raise _explain_missing(missing, len(lines) + len(missing))
    digest = hashlib.sha256()
    for line in sorted(lines):
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def name_image(path: Path, root: Path) -> str:
    """Return the path of an image below ``root`` with forward slashes; the whole path if it is not below ``root``."""
    return str(path).removeprefix(os.path.join(root, "")).replace(os.sep, "/")  # noqa: PTH118  # keeps the last slash


def _measure_file(path: Path) -> int | None:
    """Return the size of a file in bytes; None if there is no such file."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null character in the name
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _write_labels(image: Record | LabelledImage) -> str:
    return f"{image.pid},{image.camid}" if isinstance(image, Record) else str(image.label)


def _explain_missing(missing: list[Path], images: int) -> DatasetError:
    first = ", ".join(printable(path) for path in missing[:_SHOWN])
    return DatasetError(f"{len(missing)} of {images} images are missing, such as {first}")
