"""Write files whole or not at all; the only code of the package that does so.

The bytes go to a temporary file beside the target, are flushed to the disk, and then get the final name in one step. A
reader never sees half a file, and a target that existed before stays as it was until the new one is complete. When
anything fails, the temporary file is removed: on a full disk, on an exception, on Ctrl-C, and when the process exits
while another thread still writes. Only a process that is killed leaves one behind; see `remove_leftovers`.
"""

import atexit
import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from reidhub.errors import CacheError, DiskFullError, ReidhubError

TEMPORARY = ".incoming-"
"""Prefix of every temporary name."""

LEFTOVER_S = 3600.0
"""A temporary file that nobody has written to for so many seconds belongs to a run that was killed."""

_MODE = 0o644  # caches, mirrors and reports are read by other users too; temporary files start as 0600
_NAME_LENGTH = 40  # characters of the target's name within the temporary name, which may have 255 bytes
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # no room on the disk, in the user's quota, under `ulimit -f`

_unfinished: dict[Path, int] = {}  # temporary file -> process that writes it; a forked child must not remove it


@atexit.register
def _remove_unfinished() -> None:
    for path, process in list(_unfinished.items()):
        if process == os.getpid():
            with suppress(OSError):
                path.unlink()


class AtomicFile:
    """A new file under a temporary name, which `publish` replaces by the final one.

    Leaving the ``with`` block closes the file and removes it, unless it was published.

    Args:
        folder: the target's, or another one on the same disk.
        prefix: start of the temporary name.
        suffix: end of the temporary name.

    Attributes:
        path: the temporary name.
        file: open for writing and reading, buffered.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, prefix: str = TEMPORARY, suffix: str = "") -> None:
        from tempfile import mkstemp  # takes milliseconds to import, and `reidhub show` writes nothing

        handle, name = mkstemp(prefix=prefix, suffix=suffix, dir=folder)
        self.path = Path(name)
        self.file: IO[bytes] = os.fdopen(handle, "w+b")
        _unfinished[self.path] = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.discard()

    def sync(self) -> None:
        """Flush everything that was written to the disk.

        Raises:
            OSError: the disk does not take it.
        """
        self.file.flush()
        os.fsync(self.file.fileno())

    def publish(self, target: Path, *, exclusive: bool = False) -> None:
        """Flush and close the file, and give it its final name.

        Args:
            target: the final name, on the same disk.
            exclusive: never replace an existing file. Two processes at once are only kept apart where the file system
                has hard links.

        Raises:
            FileExistsError: the target exists, and ``exclusive`` is set.
            OSError: the disk does not take the bytes, or the folder the name.
        """
        self.sync()
        self.file.close()
        self.path.chmod(_MODE)
        if exclusive:
            _check_new(self.path, target)
        self.path.replace(target)

    def keep(self) -> None:
        """From now on, leave the file under its temporary name when the process ends."""
        _unfinished.pop(self.path, None)

    def discard(self) -> None:
        """Close the file and remove it; without effect after `publish`."""
        with suppress(OSError):  # closing writes what is still buffered, and a full disk refuses it again
            self.file.close()
        with suppress(OSError):
            self.path.unlink()
        _unfinished.pop(self.path, None)


def _check_new(path: Path, target: Path) -> None:
    """Claim the target's name by a hard link, which fails where the name exists."""
    try:
        target.hardlink_to(path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(str(target)) from None


@contextmanager
def write_atomically(path: Path, *, exclusive: bool = False) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces ``path`` when the block ends without an exception.

    Args:
        path: the final name; its folder must exist.
        exclusive: never replace an existing file.

    Raises:
        FileExistsError: the target exists, and ``exclusive`` is set.
        OSError: the file cannot be written.
    """
    with AtomicFile(path.parent, f"{TEMPORARY}{path.name[:_NAME_LENGTH]}-") as new:
        yield new.file
        new.publish(path, exclusive=exclusive)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, with the line ends that it has.

    Raises:
        OSError: the file cannot be written.
    """
    with write_atomically(path) as file:
        file.write(text.encode())


def write_json(path: Path, data: dict[str, Any], *, exclusive: bool = False) -> None:
    """Write a small JSON file.

    Raises:
        FileExistsError: the target exists, and ``exclusive`` is set.
        OSError: the file cannot be written.
    """
    with write_atomically(path, exclusive=exclusive) as file:
        file.write(json.dumps(data, indent=1).encode())


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed runs have left in a folder.

    Raises:
        OSError: the folder does not allow it.
    """
    for path in folder.glob(TEMPORARY + "*"):
        with suppress(FileNotFoundError):  # another run has finished it in the meantime
            if path.stat().st_mtime < time.time() - LEFTOVER_S:
                path.unlink()


def is_disk_full(error: OSError) -> bool:
    """True where a write failed for want of room: on the disk, in a quota, or under a limit on the size of files."""
    return error.errno in _FULL


@contextmanager
def explain_write_errors(
    action: str, failure: type[ReidhubError] = CacheError, *, hint: str | None = None
) -> Iterator[None]:
    """Replace an OSError of the block by an error in words.

    Args:
        action: what the block does, as in ``"write the receipt r.json"``.
        failure: type of the error for every reason but a full disk.
        hint: what the user can do; None for a hint on a full disk alone.

    Raises:
        DiskFullError: the disk, a quota or a limit on the size of files is reached.
        ReidhubError: of type ``failure``: the path cannot be written for another reason.
    """
    try:
        yield
    except OSError as error:
        message = f"cannot {action}: {error.strerror or error}"
        if is_disk_full(error):
            raise DiskFullError(message, hint=hint or "make room on that disk") from error
        raise failure(message, hint=hint) from error
