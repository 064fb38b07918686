"""Find the checkpoints to which a file belongs, or could belong."""

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
    """The checkpoints whose published file has exactly the bytes of a given file.

    Args:
        entries: the checkpoints.
        known_by: how the checkpoints were recognised; None if there are none. ``mega-mac``, the checksum in a Mega
            link, proves that the file is complete, but not who made it.
    """

    entries: tuple[Checkpoint, ...]
    known_by: Literal["sha256", "mega-mac"] | None


def find_origin(path: Path, sha256: Digest, *, architecture: str | None) -> Origin:
    """Find the checkpoints that have exactly this file, by its sha256 or by the MAC, the checksum in a Mega link.

    Args:
        path: the file.
        sha256: sha256 of the file.
        architecture: compare only the MACs of checkpoints with this architecture; None for all MACs.

    Raises:
        OSError: the file cannot be read.
    """
    known = [c for c in zoo().checkpoints if c.artifact.pinned or architecture in (None, c.model)]
    found = tuple(identify(path, sha256, known))
    if not found:
        return Origin((), None)
    return Origin(found, "sha256" if found[0].artifact.pinned else "mega-mac")


def find_by_digest(sha256: Digest) -> tuple[Checkpoint, ...]:
    """Find the checkpoints whose file has this sha256."""
    return tuple(c for c in zoo().checkpoints if c.artifact.digest == sha256)


def find_training_sets(num_classes: int | None) -> tuple[str, ...]:
    """Find the names of the training sets that have this number of people or classes.

    Both the manifest and the datasets' published numbers of people or classes are searched.
    """
    if num_classes is None:
        return ()
    named = [_name_training_set(c) for c in zoo().checkpoints if c.spec.num_classes == num_classes and c.trained_on]
    return tuple(dict.fromkeys(named + find_datasets_with(num_classes)))


def find_candidates(architecture: str, num_classes: int | None) -> tuple[Checkpoint, ...]:
    """Find the checkpoints that could be in a file with this architecture and number of classes.

    If no checkpoint of the zoo has this number of classes, return the checkpoints of this architecture whose number of
    classes is not published. If ``num_classes`` is None, return all checkpoints of this architecture.
    """
    own = [c for c in zoo().checkpoints if c.model == architecture]
    if num_classes is None:
        return tuple(own)
    published = any(c.spec.num_classes == num_classes for c in zoo().checkpoints)
    return tuple(c for c in own if c.spec.num_classes == (num_classes if published else None))


def find_by_file_name(path: Path) -> tuple[Checkpoint, ...]:
    """Find the checkpoints by the name of a file.

    For the checkpoint ``osnet_x1_0.msmt17``, these are the author's file name, and file names such as
    ``osnet_x1_0.msmt17.pth`` and ``osnet_x1_0_msmt17.pth``.
    """
    name = path.name
    stem = name.partition(".")[0]
    return tuple(
        c
        for c in zoo().checkpoints
        if name == c.artifact.original_file or stem == c.name.replace(".", "_") or path.stem == c.name
    )


def _name_training_set(checkpoint: Checkpoint) -> str:
    return " + ".join(checkpoint.trained_on) + (" (all images of it)" if checkpoint.combineall else "")
