"""Published numbers of images, people and cameras of datasets, and the comparison of a copy with these numbers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reidhub.datasets.folders import printable
from reidhub.datasets.records import LabelledImage, Record
from reidhub.errors import DatasetError
from reidhub.files.strict_yaml import Fields, Value, read_package_list

_FILE = Path(__file__).with_name("published.yaml")
_Key = tuple[str, str | None]  # name and version of a dataset
_SPLIT = Fields(
    "a split",
    required={"split": "its name", "images": "number of images", "identities": "number of people or classes"},
    optional={"cameras": "number of cameras"},
)
_DATASET = Fields(
    "a dataset",
    required={"dataset": "its name", "source": "where the numbers are published", "splits": "list of its splits"},
    optional={"version": "its version, if the numbers differ between versions"},
    nested={"splits": _SPLIT},
)


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of images, people and cameras in one split of a dataset.

    Args:
        images: number of images, without junk (pid -1).
        identities: number of different pids, or of classes.
        cameras: number of different cameras; None for a classification dataset.
    """

    images: int
    identities: int
    cameras: int | None = None

    def __str__(self) -> str:
        if self.cameras is None:
            return f"{self.images} images of {self.identities} classes"
        return f"{self.images} images of {self.identities} identities from {self.cameras} cameras"


def find_published_counts(name: str, version: str | None = None) -> Mapping[str, Counts] | None:
    """Return a mapping from each split of a dataset to its published `Counts`; None if they are not known.

    Args:
        name: key of the dataset registry.
        version: None for datasets that have the same counts in all versions.
    """
    return _read_published().get((name, version))


def find_datasets_with(train_identities: int) -> list[str]:
    """Find the datasets in published.yaml whose training split has this number of people or classes."""
    found = [
        name
        for (name, _), splits in _read_published().items()
        if "train" in splits and splits["train"].identities == train_identities
    ]
    return list(dict.fromkeys(found))


@lru_cache(maxsize=1)
def _read_published() -> dict[_Key, dict[str, Counts]]:
    return dict(read_package_list(_FILE, _read_dataset))


def _read_dataset(value: Value) -> tuple[_Key, dict[str, Counts]]:
    fields = value.fields(_DATASET)
    version = fields["version"].text() if "version" in fields else None
    return (fields["dataset"].text(), version), dict(fields["splits"].items(_read_split, "splits"))


def _read_split(value: Value) -> tuple[str, Counts]:
    fields = value.fields(_SPLIT)
    cameras = fields["cameras"].integer() if "cameras" in fields else None
    return fields["split"].text(), Counts(fields["images"].integer(), fields["identities"].integer(), cameras)


def count_images(images: Iterable[Record | LabelledImage]) -> Counts:
    """Count the images, people and cameras of one split; for a classification dataset, the images and classes."""
    listed = list(images)
    people = [image for image in listed if isinstance(image, Record)]
    if len(people) < len(listed):
        return Counts(len(listed), len({image.label for image in listed if isinstance(image, LabelledImage)}))
    return Counts(len(people), len({r.pid for r in people}), len({r.camid for r in people}))


def leave_out_missing(
    listed: Mapping[str, tuple[Record, ...]],
) -> tuple[dict[str, tuple[Record, ...]], tuple[str, ...]]:
    """Leave out the records of files that are missing in the copy of a dataset that lists its files.

    Args:
        listed: name of a split -> its records.

    Returns:
        Name of a split -> the records of its files that exist, and the flaws of the copy, in words.
    """
    splits = {split: tuple(record for record in records if record.path.is_file()) for split, records in listed.items()}
    return splits, tuple(
        _describe_missing(split, records, set(splits[split]))
        for split, records in listed.items()
        if records != splits[split]
    )


def _describe_missing(split: str, listed: tuple[Record, ...], found: set[Record]) -> str:
    missing = [record.path for record in listed if record not in found]
    return f"{split}: {len(missing)} of {len(listed)} listed files are missing, such as {printable(missing[0])}"


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a dataset on this machine, which `check` compares with the published counts.

    Args:
        name: key of the dataset registry.
        title: the dataset's own name.
        root: folder of the copy.
        expected: split -> published counts; None if they are not known.
        flaws: mistakes that the reader has found in the copy, in words.
    """

    name: str
    title: str
    root: Path
    expected: Mapping[str, Counts] | None
    flaws: tuple[str, ...] = ()

    def check(
        self, splits: Mapping[str, Iterable[Record | LabelledImage]], *, allow_partial: bool = False
    ) -> str | None:
        """Compare the copy with the published counts.

        Args:
            splits: split -> its images.
            allow_partial: accept a copy that differs.

        Returns:
            How the copy differs, in words; None if no difference was found.

        Raises:
            DatasetError: the copy differs and ``allow_partial`` is False, or a split is empty.
        """
        found = {split: count_images(images) for split, images in splits.items()}
        wanted = self.expected or {}
        flaws = [
            f"{split}: expected {wanted[split]}, got {counts}"
            for split, counts in found.items()
            if split in wanted and counts != wanted[split]
        ]
        flaws += [f"{split}: no images" for split, counts in found.items() if not counts.images]
        flaws += self.flaws
        if flaws and (not allow_partial or not all(counts.images for counts in found.values())):
            raise DatasetError("\n  ".join([self._headline(), *flaws]), hint=_HINT)
        return "; ".join(flaws) or None

    def _headline(self) -> str:
        return f"{self.name}: the copy in {self.root} is not {self.title} as published"


_HINT = (
    "unpack the dataset again; --allow-partial accepts this copy, but its scores cannot be compared with published ones"
)
