"""Open a path only if it is a regular file. Opening a pipe would wait for its writer, for ever if there is none."""

import errno
import os
from io import BufferedReader
from pathlib import Path
from stat import S_ISREG


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
