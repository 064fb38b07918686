"""A file on its way into the cache, and what a run that was cut short leaves of it.

Always true: nobody but its process writes to it, locks or no locks. Whoever goes on with what another run left copies
those bytes into a file of its own and hashes them on the way; the other file is removed only afterwards, and a process
that loses its file in this manner has lost nothing but work.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from reidhub.errors import CacheError
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

    def __init__(self, folder: Path, prefix: str = ".incoming-", name: str = "") -> None:
        handle, path = _new_file(folder, prefix, ".part")
        self.path = Path(path)
        self.size = 0
        self._name = name
        self._file = os.fdopen(handle, "w+b", buffering=0)
        self._hash = sha256()
        self._notes: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._file.close()
        noted = self._notes is not None
        self._close_notes()
        if not noted or not self.path.exists():
            self.discard()

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            CacheError: the disk does not take them.
        """
        self._hash.update(chunk)
        left = memoryview(chunk)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.discard()  # a full disk is not to be kept full
            raise CacheError(f"cannot write {self.path.parent}: {error.strerror}", hint=ROOM) from error
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
            self._notes.write(json.dumps(note).encode() + b"\n")  # appended: cheaper than a file put in its place

    def discard(self) -> None:
        """Leave nothing of it behind."""
        self._close_notes()
        for path in (self.path, self.path.with_suffix(NOTES)):
            with suppress(OSError):
                path.unlink()

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
        try:
            self._file.truncate(size)
            self._file.seek(size)
        except OSError as error:
            raise CacheError(f"cannot write {self.path.parent}: {error.strerror}", hint=ROOM) from error
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
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            self.discard()
            raise CacheError(f"cannot write {self.path.parent}: {error.strerror}", hint=ROOM) from error
        return Digest(self._hash.hexdigest())


def _new_file(folder: Path, prefix: str, suffix: str = "") -> tuple[int, str]:
    """A file of this process alone: its descriptor and its name."""
    from tempfile import mkstemp  # costs milliseconds that `reidhub show`, which only looks into the cache, is spared

    return mkstemp(prefix=prefix, suffix=suffix, dir=folder)


def write_json(path: Path, data: dict[str, Any], *, exclusive: bool = False) -> None:
    """Write a small file so that its name never stands for half of it.

    Args:
        path: its name.
        data: its content.
        exclusive: never in the place of another; held to as far as the folder knows hard links.

    Raises:
        FileExistsError: there is another, with ``exclusive``.
        OSError: the folder does not take it.
    """
    handle, name = _new_file(path.parent, f".incoming-{path.stem}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
        Path(name).chmod(0o644)  # others who share the folder read it too
        if exclusive:
            _link(Path(name), path)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _link(existing: Path, path: Path) -> None:
    try:
        path.hardlink_to(existing)
    except FileExistsError:
        raise
    except OSError:
        if path.exists():
            raise FileExistsError(str(path)) from None
