"""Converts checkpoint files in the cache to safetensors files, from which a model is loaded faster.

The converted file is in the folder of the original. It gets its final name only when it is complete. It contains only
weights that loaded strictly into their model, and its metadata has the sha256 of the original. If the size or the
modification time of a converted file has changed, it is hashed before use. A broken converted file is written again.

The file is read, not mapped into memory: if another program shortens a mapped file, the process is killed (SIGBUS).
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from reidhub.cache.partial_file import ROOM
from reidhub.errors import WeightsError
from reidhub.files.atomic import AtomicFile, explain_write_errors, write_json
from reidhub.files.digest import Digest, sha256
from reidhub.files.strict_json import read_json
from reidhub.weights.safetensors_file import read_safetensors, serialise
from reidhub.weights.state_dict import read_weights
from reidhub.zoo.artifact import StateDictLayout

SUFFIX = ".safetensors"
ORIGINAL = "sha256_of_original"
"""Key in the metadata of a converted file; its value is the sha256 of the original file."""


@dataclass(frozen=True, slots=True)
class _Note:
    """The record of a converted file, kept in a JSON file beside it.

    Args:
        original: sha256 of the original file.
        layout: how the original file stores its tensors.
        sha256: sha256 of the converted file.
        size: size of the converted file in bytes.
        mtime_ns: modification time of the converted file.
    """

    original: str
    layout: StateDictLayout
    sha256: str
    size: int
    mtime_ns: int


def read_cached_weights(path: Path, layout: StateDictLayout) -> dict[str, Tensor]:
    """Read the weights of a file in the cache: from its converted copy if there is one, else from the file itself.

    Args:
        path: the original file in the cache.
        layout: how the original file stores its tensors.

    Raises:
        WeightsError: see `read_weights`.
    """
    if found := find_conversion(path, layout):
        with suppress(WeightsError):
            return read_safetensors(found)
    return read_weights(path, layout=layout)


def find_conversion(path: Path, layout: StateDictLayout) -> Path | None:
    """Return the converted file of a cached file; None if it is missing, broken or made with another layout.

    Args:
        path: the original file in the cache.
        layout: how the original file stores its tensors.
    """
    converted = path.with_suffix(SUFFIX)
    note = read_json(_Note, find_note(converted))
    if note is None or (note.original, note.layout) != (path.stem, layout):
        return None
    try:
        state = converted.stat()
        if (note.size, note.mtime_ns) != (state.st_size, state.st_mtime_ns):
            if Digest.of_file(converted).hex != note.sha256:
                return None
            with suppress(OSError):  # if the folder is not writable, the next use hashes the file again
                note = replace(note, size=state.st_size, mtime_ns=state.st_mtime_ns)
                write_json(find_note(converted), asdict(note))
        return converted
    except OSError:
        return None


def convert(path: Path, tensors: Mapping[str, Tensor], layout: StateDictLayout) -> Path:
    """Write the weights of a cached file as safetensors next to it, unless an intact converted file exists.

    Args:
        path: the original file in the cache; its name is its sha256 and a suffix.
        tensors: the weights that `read_weights` returned for the file and that loaded strictly into their model.
        layout: the layout with which the original file was read.

    Returns:
        Path of the converted file.

    Raises:
        CacheError: the folder is not writable or full.
    """
    if found := find_conversion(path, layout):
        return found
    converted, written = path.with_suffix(SUFFIX), sha256()
    with explain_write_errors(f"write {converted}", hint=ROOM), AtomicFile(path.parent) as new:
        for part in serialise(tensors, {ORIGINAL: path.stem}):
            new.file.write(part)
            written.update(part)
        new.sync()
        state = new.path.stat()
        note = _Note(path.stem, layout, written.hexdigest(), state.st_size, state.st_mtime_ns)
        write_json(find_note(converted), asdict(note))
        new.publish(converted)
    return converted


def is_faithful(path: Path) -> bool:
    """Compare the converted file of a cached file with the file itself.

    The note beside a converted file cannot prove that the converted file is right, because whoever can change one
    of them can change the other too. Therefore the weights are read from the original again. Both files must have the
    same names, types, shapes and values, and the converted file must have the sha256 in the note.

    Args:
        path: the original file in the cache; it must be intact.

    Raises:
        OSError: the converted file cannot be read.
    """
    converted = path.with_suffix(SUFFIX)
    note = read_json(_Note, find_note(converted))
    if note is None or (note.original, note.sha256) != (path.stem, Digest.of_file(converted).hex):
        return False
    try:
        wanted, got = read_weights(path, layout=note.layout), read_safetensors(converted)
    except WeightsError:
        return False
    return wanted.keys() == got.keys() and all(_is_same(got[name], tensor) for name, tensor in wanted.items())


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def read_original_digest(path: Path) -> Digest | None:
    """Read the sha256 of the original file from the metadata of a safetensors file; None if there is none.

    The sha256 is not checked: anyone can write any sha256 into the metadata.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as header:
            return Digest((header.metadata() or {})[ORIGINAL])
    except (SafetensorError, OSError, ValueError, KeyError):
        return None


def find_note(converted: Path) -> Path:
    """Return the path of the record of a converted file, whether the record exists or not."""
    return converted.with_suffix(SUFFIX + ".json")
