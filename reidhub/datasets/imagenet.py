"""Validation set of ILSVRC 2012: a folder per class, named by its wnid; sorted, the folders are labels 0 to 999."""

import re
from pathlib import Path

from reidhub.datasets.counts import Copy, Counts, published_counts
from reidhub.datasets.folders import entries, image_files
from reidhub.datasets.records import ClassificationSet, LabelledImage, fingerprint_of
from reidhub.errors import DatasetError, DatasetNotFoundError

FOLDER = "imagenet/val, with a folder for each of the 1000 classes in it (n01440764, ...)"
_PLACES = ("imagenet/val", "val", "imagenet", "")
_WNID = re.compile(r"n\d{8}")


def read(data_root: Path, *, allow_partial: bool = False) -> ClassificationSet:
    """Read the validation images below ``data_root``.

    Raises:
        DatasetNotFoundError: they are not there.
        DatasetError: a class is missing, or the copy is not whole.
    """
    for place in _PLACES:
        root = data_root / place
        if root.is_dir() and _classes(root):
            expected = (published_counts("imagenet") or {}).get("val")
            return read_layout(root, name="imagenet", title="ImageNet", counts=expected, allow_partial=allow_partial)
    raise DatasetNotFoundError(
        "\n  ".join(
            ["imagenet: no folder with class folders (n01440764, ...)"] + [str(data_root / place) for place in _PLACES]
        ),
        hint="the validation images must lie in one folder per class",
    )


def read_layout(
    root: Path, *, name: str, title: str, counts: Counts | None = None, allow_partial: bool = False
) -> ClassificationSet:
    """Read any dataset of class folders named by wnid.

    Args:
        root: folder of the class folders.
        name: key of the dataset registry.
        title: the dataset's own name.
        counts: what it must hold; None where that is not known.
        allow_partial: take a copy with other counts, and say so in ``partial``. The number of classes must be right
            even then: labels are positions in the sorted list of all classes.

    Raises:
        DatasetError: a folder cannot be read, a class is missing, or the counts differ.
    """
    classes = _classes(root)
    if counts is not None and len(classes) != counts.identities:
        raise DatasetError(
            f"{name}: expected {counts.identities} class folders in {root}, got {len(classes)}",
            hint="labels are positions in the sorted list of all classes, so none may be missing or new",
        )
    images = tuple(LabelledImage(path, label) for label, entry in enumerate(classes) for path in image_files(entry))
    copy = Copy(name, title, root, None if counts is None else {"val": counts})
    partial = copy.hold({"val": images}, allow_partial=allow_partial)
    return ClassificationSet(name, title, root, images, fingerprint_of(root, {"val": images}), partial)


def _classes(root: Path) -> list[Path]:
    return [entry for entry in entries(root) if _WNID.fullmatch(entry.name) and entry.is_dir()]
