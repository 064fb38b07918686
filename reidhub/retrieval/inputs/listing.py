"""Lists the images of a user's INPUTs one by one, so that memory does not grow with their number."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from reidhub.datasets.folders import IMAGE_SUFFIXES
from reidhub.errors import DatasetError, UsageError
from reidhub.retrieval.inputs.boxes import list_boxes
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.inputs.parquet_files import list_parquet
from reidhub.retrieval.inputs.patterns import find_images, find_matches, is_glob, split_glob
from reidhub.retrieval.inputs.storage import FileInfo, describe, describe_entry, is_address
from reidhub.retrieval.inputs.tar_files import COMPRESSED, list_tar

_STDIN = "-"
_HINT = (
    "an INPUT is a folder, an image, a glob in quotes, a .tar or .parquet file, an address, or - for a list on stdin"
)
_OTHERS = {
    **dict.fromkeys(COMPRESSED, "decompress it first: reidhub reads plain .tar files"),
    ".zip": "unpack it first, or give it as a .tar file",
    ".csv": "--boxes reads CSV files with boxes; for a list of files: cut -d, -f1 FILE | reidhub embed ... -",
    ".txt": "for a list of files: reidhub embed ... - < FILE; for boxes: --boxes FILE",
}


def list_inputs(inputs: Sequence[str], boxes: Path | None = None) -> Iterator[Input]:
    """Check that the inputs exist, and return an iterator over their images.

    A file that a list names, but that does not exist, is listed with size -1: it counts as unreadable later.

    Args:
        inputs: folders, image files, globs, tar and Parquet files; paths or addresses; ``-`` for a list on stdin.
        boxes: a file with boxes; then ``inputs`` is the folder of the images, or empty.

    Raises:
        DatasetError: an input does not exist, cannot be read or has no images; or a table has other columns, or a
            row with wrong values. Raised by this call, or by the iterator.
        UsageError: there are no inputs, a file is of another kind, or an address needs a package that is not installed.
    """
    if boxes is not None:
        return list_boxes(boxes, _find_folder(inputs, boxes))
    if not inputs:
        raise UsageError("no INPUT was given", hint=_HINT)
    if list(inputs).count(_STDIN) > 1:
        raise UsageError("the list on stdin (-) was given more than once", hint="give - once")
    found = [(given, _find(given)) for given in inputs]
    return (image for given, file in found for image in _list(given, file))


def _find_folder(inputs: Sequence[str], boxes: Path) -> FileInfo | None:
    if len(inputs) > 1:
        raise UsageError(
            f"the boxes of {boxes} belong to one folder, got {len(inputs)} INPUTs",
            hint="give the folder of the images as the only INPUT",
        )
    if not inputs:
        return None
    if inputs[0] == _STDIN or not (found := describe(inputs[0])).is_folder:
        raise UsageError(f"with {boxes}, INPUT is the folder of the images, got {inputs[0]}")
    return found


def _find(given: str) -> FileInfo | None:
    """Return what an input is; None for a glob or the list on stdin."""
    if given == _STDIN:
        return None
    if not given:
        raise UsageError("an INPUT is empty", hint=_HINT)
    try:
        found = describe(given)
    except DatasetError:
        if not is_glob(given):
            raise
        describe(split_glob(given)[0] or ".")
        return None
    if not found.is_folder:
        _check_kind(given)
    return found


def _check_kind(path: str) -> None:
    for suffix, hint in _OTHERS.items():
        if path.lower().endswith(suffix):
            raise UsageError(f"{path} is no image, tar or Parquet file", hint=hint)


def _list(given: str, file: FileInfo | None) -> Iterator[Input]:
    """Yield the images of one input.

    Raises:
        DatasetError: it has none.
    """
    if given == _STDIN:
        images = _list_stdin()
    elif file is None:
        images = (image for found in find_matches(*split_glob(given)) for image in _list_file(found))
    elif file.is_folder:
        images = (_make_input(found) for found in find_images(given))
    else:
        images = _list_file(file)
    count = 0
    for image in images:
        count += 1
        yield image
    if not count:
        raise _explain_nothing(given, file)


def _list_file(file: FileInfo) -> Iterator[Input]:
    _check_kind(file.path)
    suffix = file.path.rpartition(".")[2].lower()
    if suffix == "tar":
        yield from list_tar(file)
    elif suffix == "parquet":
        yield from list_parquet(file)
    else:
        yield _make_input(file)


def _list_stdin() -> Iterator[Input]:
    """Yield the images of a list on stdin, one path or address per line. Bytes that are no UTF-8 are kept."""
    if sys.stdin is None:
        raise UsageError("there is no stdin to read a list from (-)")
    for line in sys.stdin.buffer:
        if path := os.fsdecode(line.rstrip(b"\r\n")):
            yield _make_input(describe_entry(path))


def _make_input(file: FileInfo) -> Input:
    return Input(file.path, file.size, file.modified_ns)


def _explain_nothing(given: str, file: FileInfo | None) -> DatasetError:
    if given == _STDIN:
        return DatasetError("the list on stdin (-) is empty")
    if file is None:
        return DatasetError(f"no file matches {given}", hint="check the pattern; ** stands for any number of folders")
    if file.is_folder:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        hint = f"images end with {suffixes}; for tar or Parquet files give a glob: '{given.rstrip('/')}/*.tar'"
        return DatasetError(f"{given} has no images", hint=hint)
    return DatasetError(f"{given} has no images", hint=_HINT if is_address(given) else None)
