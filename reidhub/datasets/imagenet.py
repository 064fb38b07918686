"""Validation set of ImageNet (ILSVRC 2012): one folder per class, named by the class's WordNet id (``n01440764``).

The label of a class is the position of its folder in the sorted list of folders, from 0.
"""

import re
from pathlib import Path

from reidhub.datasets.counts import Copy, Counts, find_published_counts
from reidhub.datasets.folders import explain_not_found, list_entries, list_images, list_places
from reidhub.datasets.records import ClassificationSet, LabelledImage, compute_fingerprint
from reidhub.errors import DatasetError

FOLDER = "imagenet/val, with a folder for each of the 1000 classes in it (n01440764, ...)"
_PLACES = ("imagenet/val", "val", "imagenet", "")
_WNID = re.compile(r"n\d{8}")


def read(data_root: Path, *, allow_partial: bool = False) -> ClassificationSet:
    """Read the validation images of ImageNet below ``data_root``.

    Raises:
        DatasetNotFoundError: no folder below ``data_root`` holds a copy.
        DatasetError: the number of classes is wrong, or the copy is incomplete and ``allow_partial`` is False.
    """
    places = list_places(data_root, _PLACES)
    for root in places:
        if root.is_dir() and _list_classes(root):
            expected = (find_published_counts("imagenet") or {}).get("val")
            return read_layout(root, name="imagenet", title="ImageNet", counts=expected, allow_partial=allow_partial)
    raise explain_not_found(
        f"imagenet: no folder with class folders (n01440764, ...) below {data_root}",
        [str(place) for place in places],
        data_root,
        hint="the validation images must be in one folder per class",
    )


def read_layout(
    root: Path, *, name: str, title: str, counts: Counts | None = None, allow_partial: bool = False
) -> ClassificationSet:
    """Read any dataset that has one folder per class, named by the class's WordNet id (``n01440764``).

    Args:
        root: folder that contains the class folders.
        name: key of the dataset registry.
        title: the dataset's own name.
        counts: published counts; None if they are not known.
        allow_partial: accept a copy with another number of images; the field ``partial`` of the result describes the
            difference. The number of classes must always be right, because a label is a position in the sorted list
            of all classes.

    Raises:
        DatasetError: a folder cannot be read, the number of classes is wrong, there are no images, or the number of
            images differs and ``allow_partial`` is False.
    """
    classes = _list_classes(root)
    if counts is not None and len(classes) != counts.identities:
        raise DatasetError(
            f"{name}: expected {counts.identities} class folders in {root}, got {len(classes)}",
            hint="a label is a position in the sorted list of all classes, so that none may be missing or added",
        )
    images = tuple(LabelledImage(path, label) for label, entry in enumerate(classes) for path in list_images(entry))
    copy = Copy(name, title, root, None if counts is None else {"val": counts})
    partial = copy.check({"val": images}, allow_partial=allow_partial)
    return ClassificationSet(name, title, root, images, compute_fingerprint(root, {"val": images}), partial)


def _list_classes(root: Path) -> list[Path]:
    return [entry for entry in list_entries(root) if _WNID.fullmatch(entry.name) and entry.is_dir()]
