"""Which checkpoints of the zoo a file is, and which it could be."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reidhub.cache.identify import identify
from reidhub.datasets.counts import find_datasets_with
from reidhub.files.digest import Digest
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import zoo


@dataclass(frozen=True, slots=True)
class Origin:
    """What the bytes of a file say of where it comes from.

    Args:
        sha256: of the file.
        entries: the checkpoints it surely is.
        known_by: what says so; None where there are none. A MAC proves that the file is whole, not who made it.
    """

    sha256: Digest
    entries: tuple[Checkpoint, ...]
    known_by: Literal["sha256", "mega-mac"] | None


def origin_of(path: Path, sha256: Digest, *, architecture: str | None) -> Origin:
    """The checkpoints a file is: by sha256; those without one by the MAC in their Mega link.

    Args:
        path: the file.
        sha256: its digest.
        architecture: whose checkpoints are held to their MACs; None for all.

    Raises:
        OSError: the file cannot be read.
    """
    of_interest = [c for c in zoo().checkpoints if c.artifact.pinned or architecture in (None, c.model)]
    found = tuple(identify(path, sha256, of_interest))
    if not found:
        return Origin(sha256, (), None)
    return Origin(sha256, found, "sha256" if found[0].artifact.pinned else "mega-mac")


def pinned_to(sha256: Digest) -> tuple[Checkpoint, ...]:
    """The checkpoints whose file has this digest."""
    return tuple(c for c in zoo().checkpoints if c.artifact.digest == sha256)


def training_sets(num_classes: int | None) -> tuple[str, ...]:
    """The datasets that have so many classes, as the checkpoints of the zoo declare it, or their own counts."""
    if num_classes is None:
        return ()
    named = [_training_set(c) for c in zoo().checkpoints if c.spec.num_classes == num_classes]
    return tuple(dict.fromkeys(named + find_datasets_with(num_classes)))


def candidates(architecture: str, num_classes: int | None) -> tuple[Checkpoint, ...]:
    """The checkpoints a file of this architecture and number of classes could be.

    One whose number of classes was never published could be any file with a number that no other one has.
    """
    own = [c for c in zoo().checkpoints if c.model == architecture]
    if num_classes is None:
        return tuple(own)
    published = num_classes in _declared(zoo().checkpoints)
    return tuple(c for c in own if c.spec.num_classes == (num_classes if published else None))


def claimed_by_name(path: Path) -> tuple[Checkpoint, ...]:
    """The checkpoints after which a file is called: under its author's name for it, or the zoo's."""
    name = path.name
    stem = name.partition(".")[0]
    return tuple(
        c
        for c in zoo().checkpoints
        if name == c.artifact.original_file or stem == c.name.replace(".", "_") or path.stem == c.name
    )


def _declared(checkpoints: Iterable[Checkpoint]) -> set[int]:
    return {c.spec.num_classes for c in checkpoints if c.spec.num_classes is not None}


def _training_set(checkpoint: Checkpoint) -> str:
    return " + ".join(checkpoint.trained_on) + (" (all images of it)" if checkpoint.combineall else "")
