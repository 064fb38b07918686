"""Notes of a diagnosis: what else a user should know about a file."""

from collections.abc import Iterator
from pathlib import Path

from reidhub.diagnosis.formats import read_pointer
from reidhub.diagnosis.known_files import describe_known_file
from reidhub.diagnosis.origins import find_by_digest, find_by_file_name, find_candidates
from reidhub.diagnosis.result import Diagnosis
from reidhub.files.digest import Digest
from reidhub.files.sniff import make_printable
from reidhub.weights import read_original_digest
from reidhub.zoo.checkpoint import IMAGENET, Checkpoint


def write_notes(read: Diagnosis, path: Path, start: bytes) -> Iterator[str]:
    """Yield what else a user should know, one sentence each.

    Args:
        read: the diagnosis so far.
        path: the file.
        start: the first bytes of the file, as `read_start` returns them.
    """
    if IMAGENET in read.training_sets:
        yield (
            "1000 classes are ImageNet's: these weights tell objects apart, not people, and their embeddings cannot "
            "identify anyone. Training can start from them: reidhub.load(..., dataset='imagenet', num_classes=N)"
        )
    if read.twins:
        same = " and ".join(read.twins)
        yield f"{same} has the same tensors; only the size of its images differs, and the file does not contain it"
    if read.wrapping and read.wrapping.other_roots:
        others = ", ".join(make_printable(root) for root in read.wrapping.other_roots)
        yield f"it holds tensors under {others} too; those under {read.wrapping.root} are read"
    if read.loadable and read.num_classes is None:
        yield "it was saved without its classifier; embeddings do not need one, and reidhub.load initialises a new one"
    if read.entries:
        return
    yield from describe_known_file(path, Digest(read.sha256))
    yield from _compare_with_name(read, path)
    could = list_candidates(read)
    if ruled_out := [checkpoint.name for checkpoint in could if checkpoint.artifact.checked_by != "nothing"]:
        yield f"its bytes are not those published as {', '.join(ruled_out)}: it was saved again, or trained further"
    if read.format == "lfs-pointer" and (target := read_pointer(start)):
        names = [checkpoint.name for checkpoint in find_by_digest(target)]
        yield f"it points to sha256 {target}, which is {', '.join(names) or 'no file of the zoo'}"
    if read.format == "safetensors" and read.tensors and (original := read_original_digest(path)):
        file = ", ".join(checkpoint.name for checkpoint in find_by_digest(original)) or f"sha256 {original}"
        yield f"it says that it was converted from {file}; its bytes do not prove it"
    if read.wrapping and read.wrapping.latin1:
        yield "Python 2 saved it; other readers need encoding='latin1', or call it invalid"


def _compare_with_name(read: Diagnosis, path: Path) -> Iterator[str]:
    """Yield a note for each checkpoint whose file has the same name as this file, but other tensors."""
    for claimed in find_by_file_name(path):
        spec, rows = claimed.spec, read.num_classes
        if read.architecture and read.architecture != spec.architecture:
            yield f"its name is that of {claimed.name}, but it contains {read.architecture}"
        elif read.architecture and rows and spec.num_classes not in (None, rows):
            has = ", ".join(read.training_sets) or "no training set of the zoo"
            yield f"its name is that of {claimed.name} ({spec.num_classes} classes), but it has {rows} classes: {has}"


def list_candidates(read: Diagnosis) -> list[Checkpoint]:
    """List the checkpoints with these tensors, and the same or an unknown number of classes."""
    fitting = (read.architecture, *read.twins) if read.architecture else ()
    return [checkpoint for name in fitting for checkpoint in find_candidates(name, read.num_classes)]
