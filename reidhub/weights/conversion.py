"""Weights converted once: beside a file of the cache lies the same as safetensors, which later loads map.

Always true: a converted file under its final name was written whole, from weights that loaded strictly, and names the
original's digest. One that was touched since is hashed before it is used; one that is broken is made anew.
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
"""Key of the original's digest in the metadata of a converted file."""


def stored_weights(path: Path, layout: StateDictLayout) -> dict[str, Tensor]:
    """The weights of a file of the cache: mapped from its conversion where that is there, else read from the file.

    Args:
        path: as the cache names it.
        layout: how the file wraps its tensors.

    Raises:
        WeightsError: as `read_weights`.
    """
    if found := conversion_of(path, layout):
        with suppress(WeightsError):
            return map_safetensors(found)
    return read_weights(path, layout=layout)


def conversion_of(path: Path, layout: StateDictLayout) -> Path | None:
    """The converted file of a file of the cache; None where there is none, a broken one, or one of other tensors.

    Args:
        path: as the cache names it.
        layout: how the file wraps its tensors.
    """
    converted = path.with_suffix(SUFFIX)
    try:
        noted = json.loads(_note(converted).read_text(encoding="utf-8"))
        state = converted.stat()
        if (noted["original"], noted["layout"]) != (path.stem, asdict(layout)):
            return None
        if (noted["size"], noted["mtime_ns"]) != (state.st_size, state.st_mtime_ns):
            if Digest.of_file(converted).hex != noted["sha256"]:
                return None
            with suppress(OSError):  # where the folder does not take it, the next use hashes the file again
                write_json(_note(converted), noted | {"size": state.st_size, "mtime_ns": state.st_mtime_ns})
        return converted
    except (OSError, ValueError, TypeError, KeyError):
        return None


def convert(path: Path, tensors: Mapping[str, Tensor], layout: StateDictLayout) -> Path:
    """Keep weights as safetensors beside the file of the cache they come from.

    Args:
        path: as the cache names it: its stem is the file's digest.
        tensors: what `read_weights` gave for it, and what loaded strictly.
        layout: that it was read with.

    Returns:
        The converted file.

    Raises:
        CacheError: the folder does not take it.
    """
    from safetensors.torch import save

    if found := conversion_of(path, layout):
        return found
    converted, data = path.with_suffix(SUFFIX), save(dict(tensors), metadata={ORIGINAL: path.stem})
    with explain_write_errors(f"write {converted}", hint=ROOM), AtomicFile(path.parent) as new:
        new.file.write(data)
        new.sync()
        state = new.path.stat()
        known = {"original": path.stem, "layout": asdict(layout), "sha256": Digest.of_bytes(data).hex}
        write_json(_note(converted), known | {"size": state.st_size, "mtime_ns": state.st_mtime_ns})
        new.publish(converted)
    return converted


def said_original(path: Path) -> Digest | None:
    """The file that a safetensors file says it was converted from, which nothing proves; None where it does not say."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as header:
            return Digest((header.metadata() or {})[ORIGINAL])
    except (SafetensorError, OSError, ValueError, KeyError):
        return None


def _note(converted: Path) -> Path:
    return converted.with_suffix(SUFFIX + ".json")
