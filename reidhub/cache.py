"""The content-addressed store of downloaded files.

Always true: a file under ``files/<sha256>.pth`` holds exactly the bytes of that digest at the moment it appears there.
It is written under a temporary name in the same folder, hashed on the way, flushed to the disk and then renamed. No
name ever comes from a server.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reidhub.checkpoint import Artifact
from reidhub.digest import Digest
from reidhub.errors import CacheError, IntegrityError


def default_root() -> Path:
    """``$REIDHUB_HOME``, else ``$TORCH_HOME/reidhub``, else ``reidhub`` in torch's cache folder of the platform."""
    if home := os.environ.get("REIDHUB_HOME"):
        return Path(home).expanduser()
    if torch_home := os.environ.get("TORCH_HOME"):
        return Path(torch_home).expanduser() / "reidhub"
    base = os.environ.get("XDG_CACHE_HOME") or (
        os.environ.get("LOCALAPPDATA", "~/AppData/Local") if sys.platform == "win32" else "~/.cache"
    )
    return Path(base).expanduser() / "torch" / "reidhub"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is remembered of a stored file.

    Args:
        sha256: of its bytes.
        size: bytes.
        mtime_ns: modification time when it was stored; size and time unchanged means the bytes are not hashed again.
        checked_by: what its bytes were held to: ``sha256``, ``mega-mac``, or ``nothing`` (unpinned).
        name: checkpoint it was first fetched for.
        source: location it came from.
    """

    sha256: str
    size: int
    mtime_ns: int
    checked_by: str
    name: str
    source: str


class Incoming:
    """A file on its way in: a temporary name, a running digest, a byte count."""

    def __init__(self, folder: Path) -> None:
        handle, name = tempfile.mkstemp(prefix=".incoming-", dir=folder)
        self.path = Path(name)
        self.size = 0
        self._file = os.fdopen(handle, "wb")
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            CacheError: the disk does not take them.
        """
        try:
            self._file.write(chunk)
        except OSError as error:
            raise CacheError(f"cannot write {self.path.parent}: {error.strerror}", hint=_ROOM) from error
        self._hash.update(chunk)
        self.size += len(chunk)

    def finish(self) -> Digest:
        """Flush everything to the disk; the digest of all bytes written."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise CacheError(f"cannot write {self.path.parent}: {error.strerror}", hint=_ROOM) from error
        return Digest(self._hash.hexdigest())


_ROOM = "make room, or set REIDHUB_HOME to a folder on another disk"


class Cache:
    """The store below one folder, made when the first file comes in.

    Args:
        root: the folder; `default_root` where None.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()
        self.files = self.root / "files"
        self.pins = self.root / "pins"

    def find(self, artifact: Artifact) -> Path | None:
        """The intact file of an artifact, or None; a pinned one by its digest, an unpinned one by its remembered pin.

        A file that was touched since it was stored is hashed again; one that is broken is removed.
        """
        digest = artifact.digest or self.pin_of(artifact)
        if digest is None:
            return None
        path = self.path(digest)
        return path if path.is_file() and self._is_intact(path, digest) else None

    def path(self, digest: Digest) -> Path:
        """Where the file of that digest lies, or would lie."""
        return self.files / f"{digest.hex}.pth"

    def entry(self, digest: Digest) -> Entry | None:
        """What is remembered of a stored file; None where nothing readable is."""
        try:
            return Entry(**json.loads(self._entry_path(digest).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def pin_of(self, artifact: Artifact) -> Digest | None:
        """The digest an unpinned artifact had when it was first fetched."""
        try:
            return Digest(json.loads(self._pin_path(artifact).read_text(encoding="utf-8"))["sha256"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @contextmanager
    def incoming(self) -> Iterator[Incoming]:
        """A place for a new file; whatever is not handed to `keep` is gone at the end.

        Raises:
            CacheError: the folder cannot be made or written.
        """
        try:
            self.files.mkdir(parents=True, exist_ok=True)
            incoming = Incoming(self.files)
        except OSError as error:
            raise CacheError(
                f"cannot use the cache folder {self.root}: {error.strerror}", hint="set REIDHUB_HOME to another folder"
            ) from error
        with incoming:
            yield incoming

    def keep(self, incoming: Incoming, artifact: Artifact, *, name: str, source: str, checked_by: str) -> Path:
        """Give a complete file its final name.

        Raises:
            IntegrityError: its size or digest is not the artifact's, or not the one remembered for it.
            CacheError: the disk does not take it.
        """
        digest = incoming.finish()
        self._hold(incoming, digest, artifact)
        path = self.path(digest)
        try:
            incoming.path.chmod(0o644)
            incoming.path.replace(path)
            entry = Entry(digest.hex, incoming.size, path.stat().st_mtime_ns, checked_by, name, source)
            _write(self._entry_path(digest), asdict(entry))
            if not artifact.pinned:
                self.pins.mkdir(exist_ok=True)
                _write(self._pin_path(artifact), {"name": name, "sha256": digest.hex, "checked_by": checked_by})
        except OSError as error:
            raise CacheError(f"cannot write {path}: {error.strerror}", hint=_ROOM) from error
        return path

    def _hold(self, incoming: Incoming, digest: Digest, artifact: Artifact) -> None:
        if artifact.size not in (None, incoming.size):
            raise IntegrityError(f"expected {artifact.size} bytes, got {incoming.size}")
        if artifact.digest not in (None, digest):
            raise IntegrityError(f"expected sha256 {artifact.digest}, got {digest}")
        pinned = self.pin_of(artifact)
        if artifact.digest is None and pinned not in (None, digest):
            raise IntegrityError(
                f"the first download had sha256 {pinned}, this one has {digest}",
                hint=f"if the new file is the right one, remove {self._pin_path(artifact)}",
            )

    def _is_intact(self, path: Path, digest: Digest) -> bool:
        entry, state = self.entry(digest), path.stat()
        if entry and (entry.size, entry.mtime_ns) == (state.st_size, state.st_mtime_ns):
            return True
        if Digest.of_file(path) == digest:
            return True
        with suppress(OSError):  # a read-only cache keeps its broken file; nobody is given it
            path.unlink()
        return False

    def _entry_path(self, digest: Digest) -> Path:
        return self.files / f"{digest.hex}.json"

    def _pin_path(self, artifact: Artifact) -> Path:
        identity = Digest.of_bytes(artifact.sources[0].location.encode())
        return self.pins / f"{identity.hex}.json"


def _write(path: Path, data: dict[str, Any]) -> None:
    handle, name = tempfile.mkstemp(prefix=".incoming-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
    Path(name).replace(path)
