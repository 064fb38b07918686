"""Write files completely or not at all.

The bytes go to a temporary file on the target's disk and are flushed to the disk. Then the file is renamed to the
target in one step. So other processes never see half a file. An older target does not change until the new file is
complete. If a write fails, for example on a full disk, the temporary file is removed. It is also removed after any
other exception or Ctrl-C, and when the process exits. Only a killed process leaves its temporary file, which
`remove_leftovers` removes later. As for every new file, the umask of the process decides who may read and write it.
"""

import atexit
import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from types import TracebackType
from typing import IO, Any, Self

from reidhub.errors import CacheError, DiskFullError, ReidhubError

TEMPORARY = ".incoming-"
"""Prefix of the temporary file names."""

LEFTOVER_S = 3600.0
"""Seconds without a write after which a temporary file counts as left by a killed process."""

_NAME_LENGTH = 40  # characters of the target's name in the temporary name; a file name has at most 255 bytes
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # disk full, quota used up, limit of `ulimit -f` reached

_unfinished: dict[Path, int] = {}  # temporary file -> id of the process that made it; forked children keep the file


@atexit.register
def _remove_unfinished() -> None:
    for path, process in list(_unfinished.items()):
        if process == os.getpid():
            with suppress(OSError):
                path.unlink()


class AtomicFile:
    """A new file with a temporary name; `publish` gives the file its final name.

    At the end of the ``with`` block, a file that was not published is closed and removed.

    Args:
        folder: the folder of the target, or another folder on the same disk.
        prefix: start of the temporary name.
        suffix: end of the temporary name.

    Attributes:
        path: path of the temporary file.
        file: the file, open for writing and reading, buffered.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, prefix: str = TEMPORARY, suffix: str = "") -> None:
        self.path = folder.absolute() / f"{prefix}{os.urandom(8).hex()}{suffix}"
        self.file: IO[bytes] = self.path.open("x+b")
        _unfinished[self.path] = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.discard()

    def sync(self) -> None:
        """Flush all written bytes to the disk.

        Raises:
            OSError: the bytes cannot be written.
        """
        self.file.flush()
        os.fsync(self.file.fileno())

    def publish(self, target: Path, *, exclusive: bool = False) -> None:
        """Flush and close the file, and rename it to ``target``.

        Args:
            target: the final path, on the same disk.
            exclusive: never replace an existing file. If two processes publish the same target at the same moment, this
                is only guaranteed on a file system with hard links.

        Raises:
            FileExistsError: the target exists, and ``exclusive`` is set.
            OSError: the bytes cannot be written, or the file cannot be renamed.
        """
        self.sync()
        self.file.close()
        if exclusive:
            _check_new(self.path, target)
        self.path.replace(target)

    def keep(self) -> None:
        """Leave the temporary file if the process exits inside the ``with`` block, so that a later run can use it.

        If the block ends first, or `discard` is called, the file is removed as usual.
        """
        _unfinished.pop(self.path, None)

    def discard(self) -> None:
        """Close and remove the temporary file; do nothing after `publish`."""
        with suppress(OSError):  # closing writes the buffer, which fails again on a full disk
            self.file.close()
        with suppress(OSError):
            self.path.unlink()
        _unfinished.pop(self.path, None)


def _check_new(path: Path, target: Path) -> None:
    """Check that the target does not exist, and claim its name for this process if the disk allows hard links.

    To claim the name, the target is created as a hard link to the temporary file ``path``. If two processes want the
    same target, only one can do this.

    Raises:
        FileExistsError: the target exists.
    """
    try:
        target.hardlink_to(path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(str(target)) from None


@contextmanager
def write_atomically(path: Path, *, exclusive: bool = False) -> Iterator[IO[bytes]]:
    """Open a temporary binary file that replaces ``path`` if the ``with`` block ends without an exception.

    Args:
        path: the final path; its folder must exist.
        exclusive: never replace an existing file.

    Raises:
        FileExistsError: ``path`` exists, and ``exclusive`` is set.
        OSError: the file cannot be written.
    """
    with AtomicFile(path.parent, f"{TEMPORARY}{path.name[:_NAME_LENGTH]}-") as new:
        yield new.file
        new.publish(path, exclusive=exclusive)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, completely or not at all; its line ends stay as they are.

    Raises:
        OSError: the file cannot be written.
    """
    with write_atomically(path) as file:
        file.write(text.encode(errors="backslashreplace"))  # names of files need not be UTF-8


def write_json(path: Path, data: dict[str, Any], *, exclusive: bool = False) -> None:
    """Write a small JSON file, completely or not at all.

    Raises:
        FileExistsError: ``path`` exists, and ``exclusive`` is set.
        OSError: the file cannot be written.
    """
    with write_atomically(path, exclusive=exclusive) as file:
        file.write(json.dumps(data, indent=1).encode())


@contextmanager
def write_folder(target: Path, *, last: str) -> Iterator[Path]:
    """Yield a temporary folder; if the ``with`` block ends without an exception, its files become those of ``target``.

    If there is no ``target``, the temporary folder gets its name in one step. If there is one, the files are moved into
    it one after the other, also those in subfolders, and its other files stay. The file ``last`` is removed before and
    moved last. So a folder with this file is complete.

    Args:
        target: the folder; its parent folder must exist.
        last: name of a file that the block writes.

    Raises:
        OSError: a file or folder cannot be written.
    """
    exists = target.is_dir()
    staging = (target if exists else target.parent).absolute() / f"{TEMPORARY}{os.urandom(8).hex()}"
    staging.mkdir()
    try:
        yield staging
        if not exists:
            staging.rename(target)
            return
        (target / last).unlink(missing_ok=True)
        files = [path for path in staging.rglob("*") if path.is_file()]
        for path in sorted(files, key=lambda path: path == staging / last):
            place = target / path.relative_to(staging)
            place.parent.mkdir(exist_ok=True)
            path.replace(place)
    finally:
        rmtree(staging, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove old temporary files and folders from a folder: those whose last write was more than an hour ago.

    Raises:
        OSError: a file cannot be removed.
    """
    for path in folder.glob(TEMPORARY + "*"):
        with suppress(FileNotFoundError):  # another process has renamed or removed it in the meantime
            if path.stat().st_mtime < time.time() - LEFTOVER_S:
                rmtree(path) if path.is_dir() else path.unlink()


def is_disk_full(error: OSError) -> bool:
    """Return True if a write failed because the disk is full, or a quota or the limit on file sizes is reached."""
    return error.errno in _FULL


@contextmanager
def explain_write_errors(
    action: str, failure: type[ReidhubError] = CacheError, *, hint: str | None = None
) -> Iterator[None]:
    """Catch an OSError from the ``with`` block, and raise a `ReidhubError` with a message for the user instead.

    Args:
        action: what the block does, such as ``"write the receipt r.json"``; the message starts with ``cannot ACTION``.
        failure: the class of the exception to raise, unless the disk is full.
        hint: advice for the user. The default is no advice or, if the disk is full, the advice to make room.

    Raises:
        DiskFullError: the disk is full, or a quota or the limit on file sizes is reached.
        ReidhubError: the block raised another OSError. The exception is of the class ``failure``.
    """
    try:
        yield
    except OSError as error:
        message = f"cannot {action}: {error.strerror or error}"
        if is_disk_full(error):
            raise DiskFullError(message, hint=hint or "make room on that disk") from error
        raise failure(message, hint=hint) from error
