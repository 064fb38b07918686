"""A partial file: the first part of a file that is being downloaded, or whose download was interrupted.

A second file in the same folder contains notes. Each note says how many bytes are good: these bytes are surely in the
file. It also says what the source (such as Mega) needs to resume the download after these bytes.

Only the process that created a partial file writes to it, so no lock is needed. If another process resumes the
download, it first copies the good bytes into a new file of its own and compares their sha256 with the note. Then it
removes the old file. If the first process still runs, its work is lost, but the bytes of two processes are never mixed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from reidhub.files.atomic import TEMPORARY, AtomicFile, explain_write_errors
from reidhub.files.digest import BLOCK, Digest, sha256
from reidhub.files.regular_file import open_regular_file
from reidhub.files.strict_json import from_json, to_json

NOTES = ".notes"
"""Suffix of the file with the notes for resuming a download, one line of JSON per note."""

ROOM = "make room, or set REIDHUB_HOME to a folder on another disk"


@dataclass(frozen=True, slots=True)
class PartialFile:
    """The first part of a file, left by an interrupted download or still written by another process.

    A second file contains notes: how many bytes are good (surely in the file), and how the download can be resumed.

    Args:
        path: path of the partial file.
        name: the checkpoint that the file belongs to; empty if there is no note.
        offset: number of good bytes according to the last note; 0 if there is no note.
        sha256: sha256 of the good bytes; empty if there is no note.
        state: data that the source needs to continue after the good bytes.
        size: number of all bytes in the file; those after ``offset`` may be damaged.
        mtime_ns: time of the last write to the file, in ns.
    """

    path: Path
    name: str
    offset: int
    sha256: str
    state: dict[str, Any]
    size: int
    mtime_ns: int

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Describe the partial file at a path; None if there is no file."""
        try:
            info = path.stat()
        except OSError:
            return None
        note = _read_note(path.with_suffix(NOTES))
        return cls(path, note.name, note.offset, note.sha256, note.state, info.st_size, info.st_mtime_ns)

    @property
    def resumable(self) -> bool:
        """True if a later run can continue the download."""
        return 0 < self.offset <= self.size

    @property
    def paths(self) -> tuple[Path, ...]:
        """Paths of the downloaded bytes and of the file with the notes for resuming; either file may be missing."""
        return tuple(dict.fromkeys([self.path, self.path.with_suffix(NOTES)]))

    def remove(self) -> None:
        """Remove the partial file and its file with notes; ignore a file that cannot be removed."""
        for path in self.paths:
            with suppress(OSError):
                path.unlink()

    def remove_if_unchanged(self) -> None:
        """Remove the partial file and its file with notes, unless the partial file has changed since `read`."""
        with suppress(OSError):
            if self.path.stat().st_mtime_ns == self.mtime_ns:
                self.remove()


@dataclass(frozen=True, slots=True)
class _Note:
    """A note says how many bytes of a partial file are good, and how the download can be resumed; see `PartialFile`."""

    name: str
    offset: int
    sha256: str
    state: dict[str, Any]


_NO_NOTE = _Note("", 0, "", {})


def _read_note(path: Path) -> _Note:
    """Read the last complete note; an empty note if there is none."""
    with suppress(OSError), open_regular_file(path) as file:
        for line in reversed(file.read().splitlines()):
            with suppress(ValueError):
                return from_json(_Note, line)
    return _NO_NOTE


class IncomingFile:
    """A new file that is being downloaded, and is hashed while it is written.

    `note` records how a later run can resume the download after an interruption. At the end of the ``with`` block, the
    file is closed. A file without a note is then removed, unless `publish` has given it its final name.

    Args:
        folder: folder for the temporary file; on the same disk as the final file.
        prefix: start of the temporary name.
        name: the checkpoint that the file belongs to.

    Attributes:
        path: path of the temporary file; ends in ``.part``.
        size: number of bytes written.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, prefix: str = TEMPORARY, name: str = "") -> None:
        self._new = AtomicFile(folder, prefix, ".part")
        self.path = self._new.path
        self.size = 0
        self._name = name
        self._hash = sha256()
        self._notes: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        has_note = self._notes is not None
        self._close_notes()
        if has_note and self.path.exists():
            with suppress(OSError):  # the notes count no byte that is only in the buffer
                self._new.file.close()
        else:
            self.discard()

    def write(self, chunk: bytes) -> None:
        """Append bytes to the file.

        Raises:
            CacheError: the bytes cannot be written; the file is removed.
        """
        self._hash.update(chunk)
        with self._discard_on_error():
            self._new.file.write(chunk)
            self._new.file.flush()  # bytes must be in the file before a note counts them
        self.size += len(chunk)

    def note(self, state: dict[str, Any]) -> None:
        """Write a note, so that a later run can continue after the bytes written so far, even if this run is killed.

        Args:
            state: data that the source needs to continue.
        """
        note = _Note(self._name, self.size, self._hash.hexdigest(), state)
        with suppress(OSError):  # without the note, the next run only has more to download
            if self._notes is None:
                self._notes = self.path.with_suffix(NOTES).open("ab", buffering=0)
                self._new.keep()
            self._notes.write(to_json(note) + b"\n")  # appending is cheaper than replacing a file

    def discard(self) -> None:
        """Remove the file and its file with notes."""
        self._close_notes()
        self._new.discard()
        with suppress(OSError):
            self.path.with_suffix(NOTES).unlink()

    def resume_from(self, partial: PartialFile) -> bool:
        """Copy the good bytes of a partial file into this new file, to continue the download after them.

        Returns:
            True if the bytes were copied. False if they cannot be read, or their sha256 differs from the one in the
            note; this file is then empty.

        Raises:
            CacheError: the bytes cannot be written.
        """
        left = partial.offset
        try:
            with partial.path.open("rb") as file:
                while left and (block := file.read(min(BLOCK, left))):
                    self.write(block)
                    left -= len(block)
        except OSError:
            left = -1
        if left or self._hash.hexdigest() != partial.sha256:
            self.truncate(0)
            return False
        return True

    def truncate(self, size: int) -> None:
        """Keep only the first ``size`` bytes of the file, and hash them again.

        Raises:
            CacheError: the file cannot be changed or read.
        """
        if size == self.size:
            return
        with self._discard_on_error():
            self._new.file.truncate(size)
            self._new.file.seek(size)
        self._hash, self.size = sha256(), size
        for block in self.read_blocks():
            self._hash.update(block)

    def read_blocks(self) -> Iterator[bytes]:
        """Read the bytes written so far, even if another process has removed the file.

        Raises:
            CacheError: the file cannot be read.
        """
        file = self._new.file
        with explain_write_errors(f"read {self.path}"):
            for start in range(0, self.size, BLOCK):
                file.seek(start)
                block = file.read(BLOCK)
                file.seek(0, os.SEEK_END)  # for the next write
                yield block

    @property
    def digest(self) -> Digest:
        """The sha256 of the bytes written so far."""
        return Digest(self._hash.hexdigest())

    def publish(self, target: Path) -> None:
        """Flush everything to the disk, and give the file its final name.

        Args:
            target: the final path, on the same disk.

        Raises:
            FileNotFoundError: another process has resumed this download and removed the file.
            OSError: the file cannot be written or renamed.
        """
        self._new.publish(target)

    def _close_notes(self) -> None:
        if self._notes is not None:
            with suppress(OSError):  # a note that was lost only means that the next run has more to download
                self._notes.close()
            self._notes = None

    @contextmanager
    def _discard_on_error(self) -> Iterator[None]:
        """Remove the file if a write in the ``with`` block fails, so that a full disk does not stay full."""
        with explain_write_errors(f"write {self.path.parent}", hint=ROOM):
            try:
                yield
            except OSError:
                self.discard()
                raise
