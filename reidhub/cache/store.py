"""The content-addressed store of downloaded files.

When a file appears as ``files/<sha256>.pth``, its bytes have that digest: it was written under a temporary name, hashed
on the way, flushed to the disk and then renamed. No name comes from a server. Reading needs no permission to write.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from reidhub.cache.partial_file import NOTES, ROOM, IncomingFile, PartialFile
from reidhub.errors import DiskFullError, IntegrityError, SourceError
from reidhub.files.atomic import TEMPORARY, explain_write_errors, write_json
from reidhub.files.digest import Digest
from reidhub.files.locations import cache_root
from reidhub.zoo.checkpoint import Artifact, Source

_DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Entry:
    """What the cache remembers of a stored file; the modification time of the entry's own file is that of the last use.

    Args:
        sha256: of its bytes.
        size: bytes.
        mtime_ns: modification time of the stored file; as long as it and the size stay, the file is not hashed again.
        checked_by: what its bytes were compared with: ``sha256``, ``mega-mac``, or ``nothing`` (unpinned).
        name: the checkpoint it was first fetched for.
        source: the location it came from.
    """

    sha256: str
    size: int
    mtime_ns: int
    checked_by: str
    name: str
    source: str


class Cache:
    """The store in one folder, which is made when the first file is written.

    Args:
        root: the folder; `cache_root` if None.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_root()
        self.files = self.root / "files"
        self.pins = self.root / "pins"
        self.partial = self.root / "partial"
        self.compiled = self.root / "compiled"

    def find(self, artifact: Artifact) -> Path | None:
        """Find the intact file of an artifact: by its sha256, or for an unpinned one by its pin.

        A file that was touched since it was stored is hashed again, and removed if it is broken.

        Returns:
            None if there is no intact file.
        """
        digest = artifact.digest or self.read_pin(artifact)
        if digest is None:
            return None
        path = self.path(digest)
        if not path.is_file() or not self._is_intact(path, digest):
            return None
        self._note_use(digest)
        return path

    def path(self, digest: Digest) -> Path:
        """Path of the file with that digest, whether it is there or not."""
        return self.files / f"{digest.hex}.pth"

    def read_entry(self, digest: Digest) -> Entry | None:
        """Read what is remembered of a stored file; None if there is no readable entry."""
        try:
            return Entry(**json.loads(self._entry_path(digest).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def read_pin(self, artifact: Artifact) -> Digest | None:
        """Read the sha256 that an unpinned artifact had when it was first fetched; None if it never was."""
        try:
            return Digest(json.loads(self._pin_path(artifact).read_text(encoding="utf-8"))["sha256"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def remove_pin(self, artifact: Artifact) -> None:
        """Forget the sha256 of an unpinned artifact; the next download sets it again.

        Raises:
            CacheError: the folder does not allow it.
        """
        path = self._pin_path(artifact)
        with explain_write_errors(f"remove {path}"):
            path.unlink(missing_ok=True)

    @contextmanager
    def open_incoming(
        self, artifact: Artifact | None = None, source: Source | None = None, *, name: str = ""
    ) -> Iterator[IncomingFile]:
        """Open a new file, which is removed at the end of the block unless `keep` stored it.

        Args:
            artifact: if given with ``source``, a file with a note stays, and `find_partial` finds it later.
            source: where the bytes come from.
            name: the checkpoint that the file belongs to.

        Raises:
            CacheError: the folder cannot be made or written.
        """
        folder, prefix = self.files, TEMPORARY
        if artifact and source:
            folder, prefix = self.partial, f"{_partial_prefix(artifact, source)}-"
        with explain_write_errors(f"use the cache folder {self.root}", hint="set REIDHUB_HOME to another folder"):
            self.files.mkdir(parents=True, exist_ok=True)
            folder.mkdir(exist_ok=True)
            incoming = IncomingFile(folder, prefix, name)
        with incoming:
            yield incoming

    def find_partial(self, artifact: Artifact, source: Source) -> PartialFile | None:
        """Find the longest resumable download of that artifact from that source."""
        found = [p for p in self._list_partials(f"{_partial_prefix(artifact, source)}-*.part") if p.resumable]
        return max(found, key=lambda partial: partial.offset, default=None)

    def list_partials(self) -> list[PartialFile]:
        """List everything that interrupted runs have left, and what other processes are writing now."""
        paths = [path for folder in (self.files, self.pins, self.partial) for path in folder.glob(TEMPORARY + "*")]
        paths += [path for path in self.partial.glob(f"*{NOTES}") if not path.with_suffix(".part").exists()]
        return [*self._list_partials("*.part"), *(partial for path in paths if (partial := PartialFile.read(path)))]

    def last_written(self, artifact: Artifact) -> int:
        """Time at which any process last wrote to a partial file of that artifact, in ns; 0 if there is none."""
        partials = self._list_partials(f"{_partial_prefix(artifact)}-*.part")
        return max((partial.mtime_ns for partial in partials), default=0)

    def lock_path(self, artifact: Artifact) -> Path:
        """Path of the lock that processes take to download the artifact one after another."""
        return self.root / "locks" / f"{_partial_prefix(artifact)}.lock"

    def remove_partials(self, artifact: Artifact) -> None:
        """Remove what interrupted runs have left of an artifact, from every source."""
        for path in self.partial.glob(f"{_partial_prefix(artifact)}-*"):
            with suppress(OSError):
                path.unlink()

    def check_room(self, size: int) -> None:
        """Check that the disk has room for a file of ``size`` bytes.

        Raises:
            DiskFullError: it has not.
        """
        from shutil import disk_usage  # takes milliseconds to import, and `reidhub show` writes nothing

        free = next(disk_usage(path).free for path in (self.files, *self.files.parents) if path.exists())
        if free < size:
            raise DiskFullError(f"expected room for {size} bytes in {self.root}, {free} are free", hint=ROOM)

    def keep(self, incoming: IncomingFile, artifact: Artifact, *, name: str, source: str, checked_by: str) -> Path:
        """Check a complete file and store it under its final name.

        Args:
            incoming: the file.
            artifact: what it must be.
            name: the checkpoint it was fetched for.
            source: the location it came from.
            checked_by: what its bytes were compared with; see `Entry`.

        Raises:
            IntegrityError: its size or sha256 is not the artifact's, or not that of the pin.
            CacheError: the disk does not take it; nothing of it stays then.
            SourceError: another process has resumed the download, and has not stored the file yet.
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
                raise SourceError("another process has resumed this download") from error
        self.remove_partials(artifact)
        return path

    def _publish(self, incoming: IncomingFile, artifact: Artifact, entry: Entry) -> None:
        """Write pin, file and entry, or none of them."""
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
        """Remember the sha256 of the first download; if two run at once, one writes the pin, the other is checked."""
        path = self._pin_path(artifact)
        pin = {"name": entry.name, "sha256": entry.sha256, "checked_by": entry.checked_by}
        self.pins.mkdir(exist_ok=True)
        if path.exists() and self.read_pin(artifact) is None:
            path.unlink(missing_ok=True)  # damaged
        with suppress(FileExistsError):
            write_json(path, pin, exclusive=True)
            undo.callback(path.unlink, missing_ok=True)
        self._check_pin(Digest(entry.sha256), artifact)

    def _is_intact(self, path: Path, digest: Digest) -> bool:
        entry, state = self.read_entry(digest), path.stat()
        if entry and (entry.size, entry.mtime_ns) == (state.st_size, state.st_mtime_ns):
            return True
        if Digest.of_file(path) == digest:
            if entry:
                with suppress(OSError):  # then the next call hashes the file again
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
    """File-name prefix of an artifact's partial files; with a source, of those from that location, with its keys."""
    known = [artifact.digest and artifact.digest.hex, artifact.size, artifact.mega_link, artifact.sources[0].location]
    parts = [known] if source is None else [known, [source.kind, source.location]]
    return "-".join(Digest.of_bytes(json.dumps(part).encode()).hex[:32] for part in parts)
