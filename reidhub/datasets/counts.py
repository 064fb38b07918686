"""Published counts of datasets, and what to say of a copy that differs from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reidhub.datasets.records import LabelledImage, Record
from reidhub.errors import DatasetError
from reidhub.files.strict_yaml import Value, read_package_list

_FILE = Path(__file__).with_name("published.yaml")
_SPLIT = ("split", "images", "identities", "cameras")


@dataclass(frozen=True, slots=True)
class Counts:
    """What one split holds.

    Args:
        images: those that are scored, without junk.
        identities: different pids among them, or classes.
        cameras: different cameras; None for classes.
    """

    images: int
    identities: int
    cameras: int | None = None

    def __str__(self) -> str:
        if self.cameras is None:
            return f"{self.images} images of {self.identities} classes"
        return f"{self.images} images of {self.identities} identities from {self.cameras} cameras"


def published_counts(name: str) -> Mapping[str, Counts] | None:
    """Split -> what the published dataset holds; None where no counts are known for ``name``."""
    return _published().get(name)


def trained_with(identities: int) -> list[str]:
    """The datasets whose published training split has so many identities; most do not tell it here."""
    return [
        name for name, splits in _published().items() if "train" in splits and splits["train"].identities == identities
    ]


@lru_cache(maxsize=1)
def _published() -> dict[str, dict[str, Counts]]:
    return dict(read_package_list(_FILE, _dataset))


def _dataset(value: Value) -> tuple[str, dict[str, Counts]]:
    known = ("dataset", "source", "splits")
    fields = value.fields(known, known, "a dataset")
    return fields["dataset"].text(), dict(fields["splits"].items(_split, "splits"))


def _split(value: Value) -> tuple[str, Counts]:
    fields = value.fields(_SPLIT, _SPLIT[:3], "a split")
    cameras = fields["cameras"].integer() if "cameras" in fields else None
    return fields["split"].text(), Counts(fields["images"].integer(), fields["identities"].integer(), cameras)


def counts_of(images: Iterable[Record | LabelledImage]) -> Counts:
    """Count one split as it was read."""
    listed = list(images)
    people = [image for image in listed if isinstance(image, Record)]
    if len(people) < len(listed):
        return Counts(len(listed), len({image.label for image in listed if isinstance(image, LabelledImage)}))
    return Counts(len(people), len({r.pid for r in people}), len({r.camid for r in people}))


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a dataset on this machine, before it is known to be whole.

    Args:
        name: key of the dataset registry.
        title: the dataset's own name.
        root: folder it lies in.
        expected: split -> published counts; None where there are none.
        flaws: what else is wrong with it, one text each.
    """

    name: str
    title: str
    root: Path
    expected: Mapping[str, Counts] | None
    flaws: tuple[str, ...] = ()

    def hold(
        self, splits: Mapping[str, Iterable[Record | LabelledImage]], *, allow_partial: bool = False
    ) -> str | None:
        """Hold the copy to the expected counts.

        Returns:
            None for a whole copy, else how it differs.

        Raises:
            DatasetError: the copy differs and ``allow_partial`` is False, or a split is empty.
        """
        found = {split: counts_of(images) for split, images in splits.items()}
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
    "unpack the dataset again; a partial copy can be allowed (--allow-partial), but its scores say nothing about "
    "published ones"
)
