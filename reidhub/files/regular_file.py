"""Open a path only if it is a regular file. Opening a pipe would wait for its writer, for ever if there is none."""

import errno
import os
from io import BufferedReader
from pathlib import Path
from stat import S_ISREG

from reidhub.errors import UsageError


def make_path(given: object) -> Path:
    """Make a path from an argument that a user gave.

    Raises:
        UsageError: it is neither a text nor a path.
    """
    if isinstance(given, str | os.PathLike) and isinstance(path := os.fspath(given), str):
        return Path(path)
    raise UsageError(f"expected the path of a file, got {given!r}"[:200])


def open_regular_file(path: Path) -> BufferedReader:
    """Open a file for reading.

    Raises:
        OSError: the file is missing, cannot be read, or is a folder, a pipe or a device.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags)
    if not S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular_file(path: Path, most: int) -> bytes:
    """Read a whole file of at most ``most`` bytes.

    Raises:
        OSError: the file is missing, cannot be read, is larger, or is a folder, a pipe or a device.
    """
    with open_regular_file(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
    return content
