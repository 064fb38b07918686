"""Checks the converted copies of a checkpoint's file in the cache: they are compared with the file itself.

Checksums inside or beside a copy cannot prove that the copy is right, because whoever changes the copy can change them
too. Therefore the weights are read from the checkpoint's file again, and the model is converted again.
"""

import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from reidhub.cache.conversions import Conversion, is_conversion, is_outdated, read_conversion, read_image_size
from reidhub.cache.prune import StoredFile
from reidhub.errors import WeightsError
from reidhub.inference.openvino_model import ConversionError, convert, keep
from reidhub.weights import read_weights
from reidhub.weights.conversion import find_note, is_faithful
from reidhub.weights.load import build_with_weights
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import zoo

_NUMBERED = re.compile(rb'<attribute name="fused_names"[^>]*>| name="[^"]*"')
"""The names in a model. They do not change its results, and OpenVINO numbers some of them differently each time."""

_converting = Lock()  # for torch's tracer


def find_wrong_copies(file: StoredFile) -> tuple[Path, ...]:
    """Find the copies that are damaged or do not agree with the checkpoint's file, and the records of such copies.

    A model for OpenVINO is converted again if this is possible: its version of OpenVINO must be the installed one, and
    the manifest must have the checkpoint. Otherwise only its checksum is tested.

    Args:
        file: a file in the cache whose bytes are intact.

    Raises:
        OSError: a copy cannot be read.
        CacheError: the folder for temporary files is not writable or full.
    """
    wrong: list[Path] = []
    for path in file.copies:
        if is_conversion(path):
            wrong += [] if _is_right(path, file) else [path]
        elif not is_faithful(file.path):
            wrong += [path, find_note(path)]
    return tuple(wrong)


def _is_right(path: Path, file: StoredFile) -> bool:
    """Convert a model for OpenVINO again, and compare both; if this is impossible, only test its checksums."""
    kept = read_conversion(path)
    if kept is None or is_outdated(path):
        return kept is not None
    checkpoint = _find_checkpoint(file)
    if checkpoint is None:
        return True
    try:
        return _remove_names(kept) == _remove_names(_convert_again(path, file, checkpoint))
    except (ConversionError, WeightsError):
        return True


def _find_checkpoint(file: StoredFile) -> Checkpoint | None:
    """Find the checkpoint of a file by its sha256, or else by the name in the cache's record of the file."""
    same = (one for one in zoo().checkpoints if one.artifact.digest == file.digest)
    named = zoo().by_name.get(file.name)
    return next(same, named if named and not named.artifact.pinned else None)


def _convert_again(path: Path, file: StoredFile, checkpoint: Checkpoint) -> Conversion | None:
    height, width = read_image_size(path)
    model = build_with_weights(checkpoint, read_weights(file.path, layout=checkpoint.layout)).eval()
    with _converting, TemporaryDirectory() as folder:
        again = Path(folder) / path.name
        keep(convert(model, replace(checkpoint.input, height=height, width=width)), again)
        return read_conversion(again)


def _remove_names(conversion: Conversion | None) -> Conversion | None:
    return conversion and Conversion(_NUMBERED.sub(b"", conversion.xml), conversion.weights)
