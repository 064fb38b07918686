"""A file on its way into the cache, and what a run that was cut short leaves of it.

Always true: nobody but its process writes to it, locks or no locks. Whoever goes on with what another run left copies
those bytes into a file of its own and hashes them on the way; the other file is removed only afterwards, and a process
that loses its file in this manner has lost nothing but work.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from reidhub.errors import CacheError
from reidhub.files.atomic import TEMPORARY, AtomicFile, explain_write_errors
from reidhub.files.digest import BLOCK, Digest, sha256

NOTES = ".notes"
"""Ends the name of the file beside a beginning that tells, in one line of JSON after another, how far it is good."""

ROOM = "make room, or set REIDHUB_HOME to a folder on another disk"


@dataclass(frozen=True, slots=True)
class Partial:
    """The beginning of a file, left by a run that was cut short, or being written by one that was not.

    Args:
        path: where the bytes are.
        name: checkpoint they belong to; empty where nothing was noted of it.
        offset: bytes that were noted as good; 0 where nothing was.
        sha256: of those bytes.
        state: what the source needs to go on behind them.
        size: bytes on the disk.
        mtime_ns: when it was last written to.
    """

    path: Path
    name: str
    offset: int
    sha256: str
    state: dict[str, Any]
    size: int
    mtime_ns: int

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """What lies there; None where it cannot be looked at."""
        try:
            info = path.stat()
        except OSError:
            return None
        name, offset, sha256, state = _noted(path.with_suffix(NOTES))
        return cls(path, name, offset, sha256, state, info.st_size, info.st_mtime_ns)

    @property
    def resumable(self) -> bool:
        """True where a later run can go on with it."""
        return 0 < self.offset <= self.size

    @property
    def paths(self) -> tuple[Path, ...]:
        """The bytes and the notes on them, whether or not there are any."""
        return tuple(dict.fromkeys([self.path, self.path.with_suffix(NOTES)]))

    def remove(self) -> None:
        """Take it away, as far as the folder allows."""
        for path in self.paths:
            with suppress(OSError):
                path.unlink()

    def remove_unless_written(self) -> None:
        """Take it away; not where somebody has written to it since it was looked at."""
        with suppress(OSError):
            if self.path.stat().st_mtime_ns == self.mtime_ns:
                self.remove()


def _noted(path: Path) -> tuple[str, int, str, dict[str, Any]]:
    """The last note that is whole."""
    with suppress(OSError):
        for line in reversed(path.read_bytes().splitlines()):
            with suppress(ValueError, TypeError, KeyError):
                note = json.loads(line)
                return str(note["name"]), int(note["offset"]), str(note["sha256"]), dict(note["state"])
    return "", 0, "", {}


class Incoming:
    """A temporary name, a running digest, a byte count.

    Args:
        folder: where the final name will be, or beside it.
        prefix: of the temporary name.
        name: checkpoint the file belongs to.

    Attributes:
        path: the temporary name, ending in ``.part``.
        size: bytes written.
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
        noted = self._notes is not None
        self._close_notes()
        if noted and self.path.exists():
            self._new.file.close()
        else:
            self.discard()

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            CacheError: the disk does not take them.
        """
        self._hash.update(chunk)
        with self._discard_on_error():
            self._new.file.write(chunk)
            self._new.file.flush()  # a note says that the bytes before it are in the file
        self.size += len(chunk)

    def note(self, state: dict[str, Any]) -> None:
        """Note that a later run can go on behind the bytes written so far, even where this process is killed.

        Args:
            state: what the source needs for that.
        """
        note = {"name": self._name, "offset": self.size, "sha256": self._hash.hexdigest(), "state": state}
        with suppress(OSError):  # without the note, a run that is cut short only costs more
            if self._notes is None:
                self._notes = self.path.with_suffix(NOTES).open("ab", buffering=0)
                self._new.keep()
            self._notes.write(json.dumps(note).encode() + b"\n")  # appended: cheaper than a file put in its place

    def discard(self) -> None:
        """Leave nothing of it behind."""
        self._close_notes()
        self._new.discard()
        with suppress(OSError):
            self.path.with_suffix(NOTES).unlink()

    def _close_notes(self) -> None:
        if self._notes is not None:
            self._notes.close()
            self._notes = None

    def take_over(self, partial: Partial) -> bool:
        """Begin with a copy of what another run left; False, and nothing held, where it is not what was noted then."""
        left = partial.offset
        try:
            with partial.path.open("rb") as file:
                while left and (block := file.read(min(BLOCK, left))):
                    self.write(block)
                    left -= len(block)
        except OSError:
            left = -1
        if left or self._hash.hexdigest() != partial.sha256:
            self.cut(0)
            return False
        return True

    def cut(self, size: int) -> None:
        """Keep the first ``size`` bytes only.

        Raises:
            CacheError: the disk fails.
        """
        if size == self.size:
            return
        with self._discard_on_error():
            self._new.file.truncate(size)
            self._new.file.seek(size)
        self._hash, self.size = sha256(), size
        for block in self.held():
            self._hash.update(block)

    def held(self) -> Iterator[bytes]:
        """The bytes written so far.

        Raises:
            CacheError: the disk fails.
        """
        try:
            with self.path.open("rb") as file:
                while block := file.read(BLOCK):
                    yield block
        except OSError as error:
            raise CacheError(f"cannot read {self.path}: {error.strerror}") from error

    def finish(self) -> Digest:
        """Flush everything to the disk; the digest of all bytes written.

        Raises:
            CacheError: the disk does not take them.
        """
        with self._discard_on_error():
            self._new.sync()
        return Digest(self._hash.hexdigest())

    def publish(self, target: Path) -> None:
        """Give the file its final name, in the same folder or beside it.

        Raises:
            OSError: the disk does not take it.
        """
        self._new.publish(target)

    @contextmanager
    def _discard_on_error(self) -> Iterator[None]:
        """Discard the file when the disk fails, so that a full disk does not stay full."""
        with explain_write_errors(f"write {self.path.parent}", hint=ROOM):
            try:
                yield
            except OSError:
                self.discard()
                raise
