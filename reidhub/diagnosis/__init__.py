"""Diagnosis of a file: its format, checkpoint, architecture and number of classes, and why it does not load.

The file is not trusted: `reidhub.read_weights` reads it without running any code from it.
"""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG

import torch
from torch import Tensor

from reidhub.diagnosis.exported import EXPORTS, explain_export
from reidhub.diagnosis.formats import FORMATS, detect_format, explain_refusal, read_start
from reidhub.diagnosis.named_layout import explain_other_network, read_with_layout
from reidhub.diagnosis.notes import list_candidates, write_notes
from reidhub.diagnosis.origins import (
    find_by_digest,
    find_by_file_name,
    find_origin,
    find_training_sets,
)
from reidhub.diagnosis.resemblance import ALIKE, Resemblance, find_nearest, find_twins
from reidhub.diagnosis.result import Diagnosis
from reidhub.diagnosis.wrapping import describe_layout, find_wrapping, make_layout
from reidhub.errors import StateDictError, WeightsError
from reidhub.files.digest import Digest
from reidhub.files.regular_file import make_path
from reidhub.files.sniff import make_printable
from reidhub.models import ARCHITECTURES, build
from reidhub.weights import count_classes, load_weights
from reidhub.weights.fit import is_classifier
from reidhub.zoo.artifact import StateDictLayout
from reidhub.zoo.checkpoint import IMAGENET
from reidhub.zoo.hub_folder import WEIGHTS
from reidhub.zoo.torchvision_weights import HEAD, starts_from_torchvision

__all__ = ["FORMATS", "Diagnosis", "doctor"]

_SHOWN = 4  # tensors listed in a message
_OTHER = "it has another architecture, or another version of one; load it with the code that it was trained with"


def doctor(path: Path | str) -> Diagnosis:
    """Find out what a file is, and why it does not load.

    Raises:
        WeightsError: the file cannot be opened.
        UsageError: ``path`` is neither a text nor a path.
    """
    return diagnose(path)


def diagnose(path: Path | str, architecture: str | None = None) -> Diagnosis:
    """Do what `doctor` does, but compare the file only with one architecture, if it is given.

    Raises:
        WeightsError: the file cannot be opened.
    """
    path = make_path(path)
    try:
        if "\0" in str(path) or not S_ISREG(path.stat().st_mode):
            hint = f"name one of its files, such as {path / WEIGHTS}" if (path / WEIGHTS).is_file() else None
            raise WeightsError(f"{str(path)!r} cannot be read: it is not a file", hint=hint)
        start, sha256 = read_start(path), Digest.of_file(path)
        blank = Diagnosis(str(path), path.stat().st_size, sha256.hex, detect_format(path))
        if blank.format in EXPORTS:
            export, problem, hint = explain_export(path, blank.format)
            return replace(blank, export=export, problem=problem, hint=hint)
        return _add_notes(_add_origin(_read_tensors(blank, path, start, architecture), path), path, start)
    except OSError as error:
        raise WeightsError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def _read_tensors(blank: Diagnosis, path: Path, start: bytes, architecture: str | None) -> Diagnosis:
    """Read the tensors, and fill in the fields of the diagnosis that depend on the tensors."""
    known = find_by_digest(Digest(blank.sha256))
    try:
        tensors, named = read_with_layout(path, known[0].layout if known else None)
    except WeightsError as error:
        refusal = explain_refusal(start) or error.message.removeprefix(f"{path}: ")
        return replace(blank, problem=refusal, hint=error.hint)
    claimed = (architecture,) if architecture else tuple(claim.model for claim in find_by_file_name(path))
    found = find_nearest(tensors, claimed if architecture else (*claimed, *ARCHITECTURES))
    layout = known[0].layout if known else named.layout if named else StateDictLayout()
    classes = count_classes(found.select(tensors))
    wrapping = find_wrapping(path, layout)
    read = replace(
        blank,
        tensors=len(tensors),
        wrapping=wrapping,
        named_layout=named.name if named else None,
        architecture=found.architecture if found.whole else None,
        twins=find_twins(found.architecture) if found.whole and found.architecture not in claimed and not known else (),
        nearest=found.architecture if ALIKE <= found.share < 1 else None,
        num_classes=classes,
        training_sets=find_training_sets(classes),
    )
    if named and found.share >= ALIKE and found.architecture not in named.architectures:
        other = explain_other_network(named, found.architecture, find_twins(found.architecture))
        return replace(read, architecture=None, twins=(), nearest=found.architecture, problem=other[0], hint=other[1])
    if found.share < ALIKE and architecture is None:
        return replace(read, problem=_describe_unknown(tensors), hint=_OTHER)
    wanted = {name: tensor for name, tensor in found.select(tensors).items() if name not in found.others}
    misfit = _find_misfit(read, found, wanted)
    if known or (misfit is None and found.share >= ALIKE):
        taken = {found.prefix + name for name in wanted}
        spare = [name for name in tensors if name not in taken]
        made = layout if known or named else make_layout(wrapping, found.prefix, taken, spare)
        read = replace(read, layout=None if named and spare else made)
    if _has_prefix_only(found, tensors):
        read = replace(read, wrapping=replace(wrapping, prefix=wrapping.prefix + found.prefix))
    problem, hint = _find_problem(read, tensors, found, misfit)
    return replace(read, problem=problem, hint=hint)


def _describe_unknown(tensors: Mapping[str, Tensor]) -> str:
    first = list(tensors.items())[:_SHOWN]
    listed = ", ".join(f"{make_printable(name)} {tuple(tensor.shape)}" for name, tensor in first)
    return f"no architecture of the zoo resembles its {len(tensors)} tensors: {listed}, ..."


def _find_problem(
    read: Diagnosis, tensors: Mapping[str, Tensor], found: Resemblance, misfit: str | None
) -> tuple[str, str] | tuple[None, None]:
    """Describe the problem if `reidhub.load` does not load the tensors.

    Args:
        read: the diagnosis so far.
        tensors: all tensors of the file.
        found: the most similar architecture.
        misfit: the error of the tensors that the architecture has too; None if these load.

    Returns:
        Problem and hint; None and None if the tensors load.
    """
    below = found.select(tensors)
    if misfit is not None:
        return _find_misfit(read, found, below) or misfit, _OTHER
    if _is_torchvision_start(found) and (misfit := _find_misfit(read, found, below)) is not None:
        call = f"reidhub.load({found.architecture!r}, {IMAGENET!r}, num_classes=...)"
        return misfit, f"its backbone is torchvision's ResNet-50 with ImageNet weights; to train from it, call {call}"
    spare = len(tensors) - sum(name not in found.others for name in below)
    return _explain_surroundings(read, spare, found) if spare else (None, None)


def _has_prefix_only(found: Resemblance, tensors: Mapping[str, Tensor]) -> bool:
    """Return True if the tensors are those of the architecture, and every name has a prefix, such as ``model.``."""
    return bool(found.prefix) and found.whole and all(name.startswith(found.prefix) for name in tensors)


def _find_misfit(read: Diagnosis, found: Resemblance, tensors: Mapping[str, Tensor]) -> str | None:
    """Return the message of the error if these tensors do not load into the most similar architecture; else None."""
    what = f"{found.architecture}, under {found.prefix!r}" if found.prefix else found.architecture
    model = build(found.architecture, read.num_classes or 1, device="meta")
    if read.num_classes is None:  # a file without a classifier loads; the model keeps its own
        own = {n: torch.zeros(t.shape) for n, t in model.state_dict().items() if is_classifier(n)}
        tensors = {**own, **tensors}
    try:
        load_weights(model, tensors, what=what)
    except StateDictError as error:
        return error.message
    return None


def _explain_surroundings(read: Diagnosis, spare: int, found: Resemblance) -> tuple[str, str]:
    """Return problem and hint for a file that would load without its ``spare`` other tensors."""
    prefix = (read.wrapping.prefix if read.wrapping else "") + found.prefix
    where = f" under {prefix!r}" if prefix else ""
    problem = f"it holds {found.architecture}{where}, and {spare} other tensors"
    if read.layout and (layout := describe_layout(read.layout)):
        command = f"`reidhub doctor --manifest {shlex.quote(read.path)}` prints one"
        return problem, f"a manifest entry of your own with `{layout}` loads it; {command}"
    return problem, f"save the tensors of {found.architecture} only, without a prefix"


def _is_torchvision_start(found: Resemblance) -> bool:
    """Return True if the weights are torchvision's ImageNet weights, apart from torchvision's own classifier."""
    only_head = not found.whole and all(name.startswith(HEAD) for name in found.others)
    return only_head and starts_from_torchvision(found.architecture)


def _add_origin(read: Diagnosis, path: Path) -> Diagnosis:
    """Add two lists of checkpoints to the diagnosis: ``entries`` and ``candidates``.

    The published file of each checkpoint in ``entries`` has exactly these bytes. The checkpoints in ``candidates`` have
    the same architecture, and the same or an unknown number of classes.
    """
    resembles = read.architecture or (read.nearest if read.named_layout else None)
    origin = find_origin(path, Digest(read.sha256), architecture=resembles)
    names = tuple(checkpoint.name for checkpoint in origin.entries)
    could = list_candidates(read)
    others = tuple(checkpoint.name for checkpoint in could if checkpoint.name not in names)
    return replace(read, entries=names, known_by=origin.known_by, candidates=others)


def _add_notes(read: Diagnosis, path: Path, start: bytes) -> Diagnosis:
    """Add ``notes`` to the diagnosis; add ``hint`` if the file has the name of a checkpoint but contains no tensors."""
    found = replace(read, notes=tuple(write_notes(read, path, start)))
    claimed = find_by_file_name(path)
    if read.tensors or not claimed or read.format not in ("empty", "page", "lfs-pointer"):
        return found
    return replace(found, hint=f"its name is that of {claimed[0].name}: `reidhub download {claimed[0].name}`")
