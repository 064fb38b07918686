"""What a stray file is: its format, its place in the zoo, its architecture and classes, and why it does not load.

Nothing in the file is believed, and no code from it runs: it is read by `reidhub.read_weights`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import Literal

from torch import Tensor

from reidhub.diagnosis.formats import FORMATS, format_of, pointed_to, refusal, start_of_file
from reidhub.diagnosis.origins import candidates, claimed_by_name, origin_of, pinned_to, training_sets
from reidhub.diagnosis.resemblance import Resemblance, nearest
from reidhub.diagnosis.wrapping import Wrapping, wrapping_of
from reidhub.errors import StateDictError, WeightsError
from reidhub.files.digest import Digest
from reidhub.files.sniff import make_printable
from reidhub.models import build
from reidhub.weights import load_weights, num_classes_of, read_weights, said_original
from reidhub.zoo.checkpoint import StateDictLayout
from reidhub.zoo.torchvision_weights import HEAD, IMAGENET, starts_from_torchvision

__all__ = ["FORMATS", "Diagnosis", "doctor"]

_ALIKE = 0.1  # part of the tensors that agree, below which naming an architecture would mislead
_SHOWN = 4  # names of tensors in a message
_OTHER = "it is of another architecture, or of another version of one; load it with the code it was trained with"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a file is.

    Args:
        path: as it was given.
        size: bytes.
        sha256: of its bytes.
        format: a key of `FORMATS`.
        entries: names of the checkpoints it surely is.
        known_by: ``sha256`` or ``mega-mac``, by which that is known; None where it is not.
        tensors: how many were read; 0 where none could be.
        wrapping: how they are wrapped; None where they could not be read.
        architecture: whose backbone it holds, tensor for tensor; None where it holds no architecture's.
        nearest: the architecture it comes nearest to where that is none; None where it resembles nothing.
        num_classes: rows of its classifier; None where there is none.
        training_sets: the datasets with so many classes.
        candidates: names of the checkpoints it could be by architecture and classes, those in ``entries`` left out.
        notes: what else a user has to know, one sentence each.
        problem: why it does not load; None where it does.
        hint: what to do about the problem.
    """

    path: str
    size: int
    sha256: str
    format: str
    entries: tuple[str, ...] = ()
    known_by: Literal["sha256", "mega-mac"] | None = None
    tensors: int = 0
    wrapping: Wrapping | None = None
    architecture: str | None = None
    nearest: str | None = None
    num_classes: int | None = None
    training_sets: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str | None = None
    hint: str | None = None

    @property
    def loadable(self) -> bool:
        """True where every tensor fits a known architecture."""
        return self.problem is None


def doctor(path: Path | str) -> Diagnosis:
    """Say what a file is, whatever it is, and why it does not load where it does not.

    Raises:
        WeightsError: the file cannot be opened.
    """
    path = Path(path)
    try:
        if "\0" in str(path) or not S_ISREG(path.stat().st_mode):
            raise WeightsError(f"{str(path)!r} cannot be read: it is no file")
        start, sha256 = start_of_file(path), Digest.of_file(path)
        blank = Diagnosis(str(path), path.stat().st_size, sha256.hex, format_of(path))
        return _with_notes(_placed(_read(blank, path, start), path), path, start)
    except OSError as error:
        raise WeightsError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def _read(blank: Diagnosis, path: Path, start: bytes) -> Diagnosis:
    """What can be said from the tensors."""
    known = pinned_to(Digest(blank.sha256))
    layout = known[0].layout if known else StateDictLayout()
    try:
        tensors = read_weights(path, layout=layout)
    except WeightsError as error:
        problem = refusal(start) or error.message.removeprefix(f"{path}: ")
        return replace(blank, problem=problem, hint=error.hint)
    found = nearest(tensors)
    below = {name.removeprefix(found.prefix): t for name, t in tensors.items() if name.startswith(found.prefix)}
    read = replace(
        blank,
        tensors=len(tensors),
        wrapping=wrapping_of(path, tensors),
        architecture=found.architecture if found.whole else None,
        nearest=found.architecture if _ALIKE <= found.share < 1 else None,
        num_classes=num_classes_of(below),
        training_sets=training_sets(num_classes_of(below)),
    )
    trouble = _trouble(read, tensors, below, found)
    return replace(read, problem=trouble[0], hint=trouble[1])


def _trouble(
    read: Diagnosis, tensors: Mapping[str, Tensor], below: Mapping[str, Tensor], found: Resemblance
) -> tuple[str, str] | tuple[None, None]:
    """Why the tensors do not load, tried as loading does it, and what to do."""
    if found.share < _ALIKE:
        first = list(tensors.items())[:_SHOWN]
        listed = ", ".join(f"{make_printable(name)} {tuple(tensor.shape)}" for name, tensor in first)
        return f"no architecture of the zoo resembles its {len(tensors)} tensors: {listed}, ...", _OTHER
    what = f"{found.architecture}, under {found.prefix!r}" if found.prefix else found.architecture
    try:
        load_weights(build(found.architecture, read.num_classes or 1000, device="meta"), below, what=what)
    except StateDictError as error:
        return error.message, _misfit_hint(read, found)
    if not found.prefix:
        return None, None
    if len(below) == len(tensors):
        layout = f"layout: {{strip_prefix: {found.prefix!r}}}"
        return f"every name has {found.prefix!r} before it", f"a manifest entry of your own with `{layout}` loads it"
    problem = f"it holds {found.architecture} under {found.prefix!r}, and {len(tensors) - len(below)} other tensors"
    return problem, f"save the tensors under {found.prefix!r} alone, without that prefix"


def _misfit_hint(read: Diagnosis, found: Resemblance) -> str:
    beyond_the_head = any(not name.startswith(HEAD) for name in found.others)
    if not found.whole and not beyond_the_head and starts_from_torchvision(found.architecture):
        call = f"reidhub.load({found.architecture!r}, {IMAGENET!r}, num_classes=...)"
        return f"its backbone is that of torchvision's ResNet-50, an ImageNet start for training, which {call} fetches"
    if found.whole and read.num_classes is None:
        return "it was saved without its classifier, as for embeddings alone; `reidhub download` fetches a whole file"
    return _OTHER


def _placed(read: Diagnosis, path: Path) -> Diagnosis:
    """The same, with its place in the zoo."""
    origin = origin_of(path, Digest(read.sha256), architecture=read.architecture)
    names = tuple(checkpoint.name for checkpoint in origin.entries)
    could = candidates(read.architecture, read.num_classes) if read.architecture else ()
    others = tuple(checkpoint.name for checkpoint in could if checkpoint.name not in names)
    return replace(read, entries=names, known_by=origin.known_by, candidates=others)


def _with_notes(read: Diagnosis, path: Path, start: bytes) -> Diagnosis:
    found = replace(read, notes=tuple(_notes(read, path, start)))
    claimed = claimed_by_name(path)
    if read.tensors or not claimed or read.format not in ("empty", "page", "lfs-pointer"):
        return found
    return replace(found, hint=f"it is called like {claimed[0].name}: `reidhub download {claimed[0].name}`")


def _notes(read: Diagnosis, path: Path, start: bytes) -> Iterator[str]:
    if IMAGENET in read.training_sets:
        yield (
            "1000 classes are ImageNet's: such weights tell things apart, not people; an embedding from them cannot "
            "identify anyone. They are a start for training: reidhub.load(..., num_classes=N)"
        )
    if read.entries:
        return
    yield from _name_notes(read, path)
    could = candidates(read.architecture, read.num_classes) if read.architecture else ()
    if ruled_out := [checkpoint.name for checkpoint in could if checkpoint.artifact.checked_by != "nothing"]:
        yield f"its bytes are not those published as {', '.join(ruled_out)}: saved again, or trained further"
    if read.format == "lfs-pointer" and (target := pointed_to(start)):
        names = [checkpoint.name for checkpoint in pinned_to(target)]
        yield f"it points to sha256 {target}, which is {', '.join(names) or 'no file of the zoo'}"
    if read.format == "safetensors" and (original := said_original(path)):
        file = ", ".join(checkpoint.name for checkpoint in pinned_to(original)) or f"sha256 {original}"
        yield f"it says that it was converted from {file}; its bytes do not prove it"
    if read.wrapping and read.wrapping.latin1:
        yield "Python 2 saved it; elsewhere it needs encoding='latin1', and some readers call it invalid"


def _name_notes(read: Diagnosis, path: Path) -> Iterator[str]:
    """What the file is called, where it holds something else."""
    for claimed in claimed_by_name(path):
        spec, rows = claimed.spec, read.num_classes
        if read.architecture and read.architecture != spec.architecture:
            yield f"it is called like {claimed.name}, but holds {read.architecture}"
        elif read.architecture and rows and spec.num_classes not in (None, rows):
            has = ", ".join(read.training_sets) or "no training set of the zoo"
            yield f"it is called like {claimed.name} ({spec.num_classes} classes), but has {rows} classes: {has}"
