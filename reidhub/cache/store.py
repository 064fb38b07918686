"""The store of downloaded files, in which the sha256 of a file is its name.

Each file is stored as ``files/<sha256>.pth``. It is written under a temporary name, hashed at the same time, flushed to
the disk and then renamed. So a file with its final name is complete and has the sha256 in its name. A server cannot
choose the name of a file. Reading from the store needs no permission to write.

An artifact whose sha256 is not known is *unpinned*. Its *pin* is the sha256 of its first download; every later download
must have the same sha256.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from reidhub.cache.partial_file import NOTES, ROOM, IncomingFile, PartialFile
from reidhub.cache.records import Entry, Pin
from reidhub.errors import DiskFullError, IntegrityError, TakenOverError
from reidhub.files.atomic import TEMPORARY, explain_write_errors, write_json
from reidhub.files.digest import Digest
from reidhub.files.locations import cache_root
from reidhub.files.regular_file import open_regular_file
from reidhub.files.strict_json import read_json
from reidhub.zoo.artifact import Artifact, Source

_DAY_S = 24 * 3600
_OTHER_FOLDER = "set REIDHUB_HOME to another folder"


class Cache:
    """The store in one folder, which is created when the first file is written.

    Args:
        root: the folder; None for the result of `cache_root`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_root()
        self.files = self.root / "files"
        self.pins = self.root / "pins"
        self.partial = self.root / "partial"

    def find(self, artifact: Artifact) -> Path | None:
        """Find the intact file of an artifact by the sha256 in the manifest, or else by the one of its first download.

        A file that was changed since it was stored is hashed again, and removed if it is broken.

        Returns:
            Path of the file; None if there is no intact file that this user can read.
        """
        digest = artifact.digest or self.read_pin(artifact)
        if digest is None:
            return None
        path = self.path(digest)
        try:
            if not self._is_intact(path, digest):
                return None
        except OSError:  # it is missing or cannot be read, or another process has removed it just now
            return None
        self._note_use(digest)
        return path

    def has(self, artifact: Artifact) -> bool:
        """Return True if the store has a file for an artifact; the file is not read, and its use is not noted."""
        digest = artifact.digest or self.read_pin(artifact)
        return digest is not None and self.path(digest).is_file()

    def path(self, digest: Digest) -> Path:
        """Return the path where the file with a digest is stored; the file need not exist."""
        return self.files / f"{digest.hex}.pth"

    def read_entry(self, digest: Digest) -> Entry | None:
        """Read the entry of a stored file, which is the cache's record of it; None if there is no readable entry."""
        entry = read_json(Entry, self._entry_path(digest))
        return entry if entry and entry.sha256 == digest.hex else None

    def read_pin(self, artifact: Artifact) -> Digest | None:
        """Read the pin: the sha256 that the first download of an artifact had, if the manifest has no sha256 for it.

        Returns:
            None if there is no readable pin.
        """
        pin = read_json(Pin, self._pin_path(artifact))
        return Digest(pin.sha256) if pin else None

    def remove_pin(self, artifact: Artifact) -> None:
        """Forget the sha256 of an artifact's first download; the next download may then have another sha256.

        Raises:
            CacheError: the file of the pin cannot be removed.
        """
        path = self._pin_path(artifact)
        with explain_write_errors(f"remove {path}"):
            path.unlink(missing_ok=True)

    @contextmanager
    def open_incoming(
        self, artifact: Artifact | None = None, source: Source | None = None, *, name: str = ""
    ) -> Iterator[IncomingFile]:
        """Open a new file to write a download into; pass it to `keep` when it is complete.

        At the end of the ``with`` block, a file that `keep` has not stored is removed. There is one exception: if
        ``artifact`` and ``source`` are given, a file with a note for resuming stays, and `find_partial` finds it later.

        Args:
            artifact: the artifact that is downloaded.
            source: the source of the bytes.
            name: the checkpoint that the file belongs to.

        Raises:
            CacheError: the folder cannot be created or written.
        """
        folder, prefix = self.files, TEMPORARY
        if artifact and source:
            folder, prefix = self.partial, f"{_partial_prefix(artifact, source)}-"
        with explain_write_errors(f"use the cache folder {self.root}", hint=_OTHER_FOLDER):
            self.files.mkdir(parents=True, exist_ok=True)
            folder.mkdir(exist_ok=True)
            incoming = IncomingFile(folder, prefix, name)
        with incoming:
            yield incoming

    def find_partial(self, artifact: Artifact, source: Source) -> PartialFile | None:
        """Find the longest resumable partial file of an artifact from this source; None if there is none."""
        found = [p for p in self._list_partials(f"{_partial_prefix(artifact, source)}-*.part") if p.resumable]
        return max(found, key=lambda partial: partial.offset, default=None)

    def list_partials(self) -> list[PartialFile]:
        """List all files of interrupted runs, and the files that other processes are writing now."""
        paths = [path for folder in (self.files, self.pins, self.partial) for path in folder.glob(TEMPORARY + "*")]
        paths += [path for path in self.partial.glob(f"*{NOTES}") if not path.with_suffix(".part").exists()]
        return [*self._list_partials("*.part"), *(partial for path in paths if (partial := PartialFile.read(path)))]

    def last_written(self, artifact: Artifact) -> int:
        """Return the time of the last write to any partial file of an artifact, in ns; 0 if there is no such file."""
        partials = self._list_partials(f"{_partial_prefix(artifact)}-*.part")
        return max((partial.mtime_ns for partial in partials), default=0)

    def lock_path(self, artifact: Artifact) -> Path:
        """Return the path of the lock file that lets only one process at a time download an artifact."""
        return self.root / "locks" / f"{_partial_prefix(artifact)}.lock"

    def remove_partials(self, artifact: Artifact) -> None:
        """Remove the partial files of an artifact, from whichever source they came."""
        for path in self.partial.glob(f"{_partial_prefix(artifact)}-*"):
            with suppress(OSError):
                path.unlink()

    def check_room(self, size: int) -> None:
        """Check that the disk has room for a file of ``size`` bytes.

        Raises:
            DiskFullError: the disk has less room.
            CacheError: the disk of the cache folder cannot be examined.
        """
        from shutil import disk_usage  # takes milliseconds to import, and `reidhub show` does not need it

        with explain_write_errors(f"use the cache folder {self.root}", hint=_OTHER_FOLDER):
            folder = self.files.absolute()
            free = next(disk_usage(path).free for path in (folder, *folder.parents) if path.exists())
        if free < size:
            raise DiskFullError(f"expected room for {size} bytes in {self.root}, {free} are free", hint=ROOM)

    def keep(self, incoming: IncomingFile, artifact: Artifact, *, name: str, source: str, checked_by: str) -> Path:
        """Check a complete file and store it under its final name.

        Args:
            incoming: the complete file.
            artifact: the artifact that the file is compared with.
            name: the checkpoint that the file was fetched for.
            source: the location that the file came from.
            checked_by: what the file was compared with; see `Entry`.

        Returns:
            Path of the stored file.

        Raises:
            IntegrityError: the size or sha256 differs from the manifest, or the sha256 differs from the first download.
            CacheError: the file cannot be written; no part of it stays in the store.
            TakenOverError: ``incoming`` is gone: another process has taken over this download, removed ``incoming``,
                and has not stored its own file yet.
        """
        digest = incoming.digest
        self._check(incoming, digest, artifact)
        path = self.path(digest)
        with explain_write_errors(f"write {path}", hint=ROOM):
            try:
                entry = Entry(digest.hex, incoming.size, incoming.path.stat().st_mtime_ns, checked_by, name, source)
                self._publish(incoming, artifact, entry)
            except FileNotFoundError as error:
                if stored := self.find(artifact):
                    return stored
                raise TakenOverError("another process has resumed this download") from error
        self.remove_partials(artifact)
        return path

    def _publish(self, incoming: IncomingFile, artifact: Artifact, entry: Entry) -> None:
        """Store a file, its entry and (if unpinned) its pin; if a write fails, remove what this call has written."""
        digest = Digest(entry.sha256)
        path = self.path(digest)
        with ExitStack() as undo:
            if not artifact.pinned:
                self._write_pin(artifact, entry, undo)
            existed = path.exists()
            incoming.publish(path)
            if not existed:
                undo.callback(path.unlink, missing_ok=True)
            write_json(self._entry_path(digest), asdict(entry))
            undo.pop_all()

    def _check(self, incoming: IncomingFile, digest: Digest, artifact: Artifact) -> None:
        if artifact.size not in (None, incoming.size):
            raise IntegrityError(f"expected {artifact.size} bytes, got {incoming.size}")
        if artifact.digest not in (None, digest):
            raise IntegrityError(f"expected sha256 {artifact.digest}, got {digest}")
        if artifact.digest is None:
            self._check_pin(digest, artifact)

    def _check_pin(self, digest: Digest, artifact: Artifact) -> None:
        pin = self.read_pin(artifact)
        if pin not in (None, digest):
            raise IntegrityError(
                f"the first download had sha256 {pin}, this one has {digest}",
                hint=f"if the new file is the right one, remove {self._pin_path(artifact)}",
            )

    def _write_pin(self, artifact: Artifact, entry: Entry, undo: ExitStack) -> None:
        """Write the pin (sha256 of the first download); if a pin exists already, check that it has the same sha256."""
        path = self._pin_path(artifact)
        pin = Pin(entry.name, entry.sha256, entry.checked_by)
        self.pins.mkdir(exist_ok=True)
        if path.exists() and self.read_pin(artifact) is None:
            open_regular_file(path).close()  # an unreadable pin stays: it may have another sha256
            path.unlink(missing_ok=True)  # the pin is damaged
        with suppress(FileExistsError):
            write_json(path, asdict(pin), exclusive=True)
            undo.callback(path.unlink, missing_ok=True)
        self._check_pin(Digest(entry.sha256), artifact)

    def _is_intact(self, path: Path, digest: Digest) -> bool:
        """Check a stored file, and remove it if it is broken.

        Raises:
            OSError: the file is missing, cannot be read, or is not a regular file.
        """
        with open_regular_file(path) as file:
            state = os.fstat(file.fileno())
        entry = self.read_entry(digest)
        if entry and (entry.size, entry.mtime_ns) == (state.st_size, state.st_mtime_ns):
            return True
        if Digest.of_file(path) == digest:
            if entry:
                with suppress(OSError):  # if the entry cannot be written, the next call hashes the file again
                    write_json(self._entry_path(digest), asdict(replace(entry, mtime_ns=state.st_mtime_ns)))
            return True
        with suppress(OSError):  # in a read-only cache the broken file stays, but is never returned
            path.unlink()
        return False

    def _note_use(self, digest: Digest) -> None:
        path = self._entry_path(digest)
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _DAY_S:
                os.utime(path)

    def _list_partials(self, pattern: str) -> list[PartialFile]:
        return [partial for path in self.partial.glob(pattern) if (partial := PartialFile.read(path))]

    def _entry_path(self, digest: Digest) -> Path:
        return self.files / f"{digest.hex}.json"

    def _pin_path(self, artifact: Artifact) -> Path:
        identity = Digest.of_bytes(artifact.sources[0].location.encode())
        return self.pins / f"{identity.hex}.json"


def _partial_prefix(artifact: Artifact, source: Source | None = None) -> str:
    """Return the text with which the file names of an artifact's partial files start.

    Args:
        artifact: the artifact.
        source: if given, return a longer text, with which only the partial files from this source start.
    """
    known = [artifact.digest and artifact.digest.hex, artifact.size, artifact.mega_link, artifact.sources[0].location]
    parts = [known] if source is None else [known, [source.kind, source.location]]
    return "-".join(Digest.of_bytes(json.dumps(part).encode()).hex[:32] for part in parts)
