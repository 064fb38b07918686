"""Converts checkpoint files in the cache to safetensors files.

A model is loaded faster from a safetensors file, because the file can be mapped into memory.

The converted file is in the folder of the original. It gets its final name only when it is complete. It contains only
weights that loaded strictly into their model, and its metadata has the sha256 of the original. If the size or the
modification time of a converted file has changed, it is hashed before use. A broken converted file is written again.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from reidhub.cache.partial_file import ROOM
from reidhub.errors import WeightsError
from reidhub.files.atomic import AtomicFile, explain_write_errors, write_json
from reidhub.files.digest import Digest
from reidhub.weights.containers import map_safetensors
from reidhub.weights.state_dict import read_weights
from reidhub.zoo.checkpoint import StateDictLayout

SUFFIX = ".safetensors"
ORIGINAL = "sha256_of_original"
"""Key in the metadata of a converted file; its value is the sha256 of the original file."""


def read_cached_weights(path: Path, layout: StateDictLayout) -> dict[str, Tensor]:
    """Read the weights of a file in the cache: from its converted copy if there is one, else from the file itself.

    The copy is mapped into memory, which is faster.

    Args:
        path: the original file in the cache.
        layout: how the original file stores its tensors.

    Raises:
        WeightsError: see `read_weights`.
    """
    if found := find_conversion(path, layout):
        with suppress(WeightsError):
            return map_safetensors(found)
    return read_weights(path, layout=layout)


def find_conversion(path: Path, layout: StateDictLayout) -> Path | None:
    """Return the converted file of a cached file; None if it is missing, broken or made with another layout.

    Args:
        path: the original file in the cache.
        layout: how the original file stores its tensors.
    """
    converted = path.with_suffix(SUFFIX)
    try:
        noted = json.loads(_find_note(converted).read_text(encoding="utf-8"))
        state = converted.stat()
        if (noted["original"], noted["layout"]) != (path.stem, asdict(layout)):
            return None
        if (noted["size"], noted["mtime_ns"]) != (state.st_size, state.st_mtime_ns):
            if Digest.of_file(converted).hex != noted["sha256"]:
                return None
            with suppress(OSError):  # if the folder is not writable, the next use hashes the file again
                write_json(_find_note(converted), noted | {"size": state.st_size, "mtime_ns": state.st_mtime_ns})
        return converted
    except (OSError, ValueError, TypeError, KeyError):
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
    from safetensors.torch import save

    if found := find_conversion(path, layout):
        return found
    converted, data = path.with_suffix(SUFFIX), save(dict(tensors), metadata={ORIGINAL: path.stem})
    with explain_write_errors(f"write {converted}", hint=ROOM), AtomicFile(path.parent) as new:
        new.file.write(data)
        new.sync()
        state = new.path.stat()
        known = {"original": path.stem, "layout": asdict(layout), "sha256": Digest.of_bytes(data).hex}
        write_json(_find_note(converted), known | {"size": state.st_size, "mtime_ns": state.st_mtime_ns})
        new.publish(converted)
    return converted


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


def _find_note(converted: Path) -> Path:
    return converted.with_suffix(SUFFIX + ".json")
