"""Files and folders on the local disk, and behind addresses such as ``s3://bucket/crops`` (through fsspec).

A name with ``://`` is an address. Names are texts, not `Path` objects, so that results keep them as the user gave them.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import IO, NamedTuple

from reidhub.errors import DatasetError
from reidhub.files.regular_file import open_regular_file, read_regular_file
from reidhub.retrieval.inputs import addresses

_LARGEST = 1 << 30  # bytes of one encoded image


class FileInfo(NamedTuple):
    """A file or folder.

    Args:
        path: its path or address.
        size: bytes; -1 if it is not known.
        modified_ns: modification time in nanoseconds since 1970; 0 if it is not known.
        is_folder: whether it is a folder.
    """

    path: str
    size: int = -1
    modified_ns: int = 0
    is_folder: bool = False


def is_address(path: str) -> bool:
    """Return True for an address such as ``s3://bucket/crops``, False for a local path."""
    return "://" in path


def join(folder: str, name: str) -> str:
    """Return the path or address of a file in a folder; ``folder`` may be empty or end with a slash."""
    return folder + name if not folder or folder.endswith("/") else f"{folder}/{name}"


def describe(path: str) -> FileInfo:
    """Return size, modification time and kind of a file or folder.

    Raises:
        DatasetError: it does not exist or cannot be read, or it is neither a file nor a folder.
        UsageError: the address needs a package that is not installed.
    """
    if is_address(path):
        return FileInfo(path, *addresses.describe(path))
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path for each of many million files takes longer than the call
    except (OSError, ValueError) as error:
        raise _explain(path, error) from error
    if not S_ISDIR(found.st_mode) and not S_ISREG(found.st_mode):
        raise DatasetError(f"{path} is neither a file nor a folder")
    return FileInfo(path, found.st_size, found.st_mtime_ns, S_ISDIR(found.st_mode))


def describe_entry(path: str) -> FileInfo:
    """Return size and modification time of a file that a list names; only the path of a missing file or an address.

    Asking a server about each address of a long list would take longer than reading the images.

    Raises:
        UsageError: the address needs a package that is not installed.
    """
    if is_address(path):
        addresses.check(path)
        return FileInfo(path)
    try:
        return describe(path)
    except DatasetError:
        return FileInfo(path)


def list_folder(folder: str, wanted: Callable[[str], bool]) -> Iterator[FileInfo]:
    """Yield the subfolders of a folder, and the files whose names are wanted, in the order of their full paths.

    Hidden files and folders are left out. For a link that leads nowhere, size and time are not known.

    Raises:
        DatasetError: the folder cannot be read.
    """
    if is_address(folder):
        for name, size, modified_ns, is_folder in addresses.list_folder(folder):
            if is_folder or wanted(name):
                yield FileInfo(join(folder, name), size, modified_ns, is_folder)
        return
    try:
        with os.scandir(folder or ".") as entries:
            shown = (entry for entry in entries if not entry.name.startswith("."))
            names = sorted(f"{entry.name}/" if _is_folder(entry) else entry.name for entry in shown)
    except OSError as error:
        raise _explain(folder, error) from error
    for name in names:
        if name.endswith("/"):
            yield FileInfo(join(folder, name[:-1]), is_folder=True)
        elif wanted(name) and not _is_special(path := join(folder, name)):
            yield describe_entry(path)


def identify_folder(folder: str) -> object:
    """Return a value that is equal for all paths of the same folder, such as a folder and a link to it."""
    if is_address(folder):
        return folder
    try:
        found = os.stat(folder or ".")  # noqa: PTH116
    except OSError as error:
        raise _explain(folder, error) from error
    return found.st_dev, found.st_ino


def open_file(path: str) -> IO[bytes]:
    """Open a file for reading.

    Raises:
        DatasetError: it does not exist or cannot be read.
    """
    if is_address(path):
        return addresses.open_file(path)
    try:
        return open_regular_file(Path(path))
    except (OSError, ValueError) as error:
        raise _explain(path, error) from error


def read(path: str) -> bytes:
    """Read a whole image file.

    Raises:
        DatasetError: it does not exist, cannot be read, or is a local file of more than 1 GiB.
    """
    if is_address(path):
        return addresses.read(path)
    try:
        return read_regular_file(Path(path), _LARGEST)
    except (OSError, ValueError) as error:
        raise _explain(path, error) from error


def read_part(path: str, start: int, size: int) -> bytes:
    """Read ``size`` bytes of a file from the byte ``start`` on.

    Raises:
        DatasetError: the file does not exist, cannot be read, or ends earlier.
    """
    if is_address(path):
        content = addresses.read(path, start, start + size)
    else:
        with open_file(path) as file, addresses.explain_errors(path):
            file.seek(start)
            content = file.read(size)
    if len(content) != size:
        raise DatasetError(f"{path} ends before byte {start + size}")
    return content


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_special(path: str) -> bool:
    """Return True for a pipe, a socket or a device."""
    return os.path.exists(path) and not os.path.isfile(path)  # noqa: PTH110, PTH113


def _explain(path: str, error: OSError | ValueError) -> DatasetError:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return DatasetError(f"{path or 'the current folder'} cannot be read: {reason}")
