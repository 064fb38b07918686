"""The content-addressed store of downloaded files.

Always true: a file under ``files/<sha256>.pth`` holds exactly the bytes of that digest at the moment it appears there.
It is written under a temporary name on the same disk, hashed on the way, flushed and then renamed. No name ever comes
from a server. Reading needs no right to write.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from reidhub.cache.partial_file import NOTES, ROOM, Incoming, Partial
from reidhub.errors import CacheError, IntegrityError, SourceError
from reidhub.files.atomic import TEMPORARY, explain_write_errors, write_json
from reidhub.files.digest import Digest
from reidhub.zoo.checkpoint import Artifact, Source

_DAY_S = 24 * 3600


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
    """What is remembered of a stored file; when it was last used, the modification time of the entry's own file tells.

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


class Cache:
    """The store below one folder, made when the first file comes in.

    Args:
        root: the folder; `default_root` where None.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()
        self.files = self.root / "files"
        self.pins = self.root / "pins"
        self.partial = self.root / "partial"
        self.compiled = self.root / "compiled"

    def find(self, artifact: Artifact) -> Path | None:
        """The intact file of an artifact, or None; a pinned one by its digest, an unpinned one by its remembered pin.

        A file that was touched since it was stored is hashed again; one that is broken is removed.
        """
        digest = artifact.digest or self.pin_of(artifact)
        if digest is None:
            return None
        path = self.path(digest)
        if not path.is_file() or not self._is_intact(path, digest):
            return None
        self._note_use(digest)
        return path

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

    def forget(self, artifact: Artifact) -> None:
        """Remember no longer which digest an unpinned artifact had; the next download decides.

        Raises:
            CacheError: the folder does not allow it.
        """
        try:
            self._pin_path(artifact).unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(f"cannot remove {self._pin_path(artifact)}: {error.strerror}") from error

    @contextmanager
    def incoming(
        self, artifact: Artifact | None = None, source: Source | None = None, *, name: str = ""
    ) -> Iterator[Incoming]:
        """A place for a new file; whatever is not handed to `keep` is gone at the end.

        Args:
            artifact: with ``source``: the bytes noted as good remain, for `partial_of` to find.
            source: where the bytes come from.
            name: checkpoint the file belongs to.

        Raises:
            CacheError: the folder cannot be made or written.
        """
        folder, prefix = self.files, TEMPORARY
        if artifact and source:
            folder, prefix = self.partial, f"{_key(artifact, source)}-"
        with explain_write_errors(f"use the cache folder {self.root}", hint="set REIDHUB_HOME to another folder"):
            self.files.mkdir(parents=True, exist_ok=True)
            folder.mkdir(exist_ok=True)
            incoming = Incoming(folder, prefix, name)
        with incoming:
            yield incoming

    def partial_of(self, artifact: Artifact, source: Source) -> Partial | None:
        """The longest beginning of that very file from that very source that an earlier run left."""
        found = [p for p in self._partials(f"{_key(artifact, source)}-*.part") if p.resumable]
        return max(found, key=lambda partial: partial.offset, default=None)

    def partials(self) -> list[Partial]:
        """Everything that runs cut short have left, and what others are writing just now."""
        left = [path for folder in (self.files, self.pins, self.partial) for path in folder.glob(TEMPORARY + "*")]
        left += [path for path in self.partial.glob(f"*{NOTES}") if not path.with_suffix(".part").exists()]
        return [*self._partials("*.part"), *(partial for path in left if (partial := Partial.at(path)))]

    def last_written(self, artifact: Artifact) -> int:
        """When any process last wrote bytes of a file that is still on its way; ns, 0 where there is none."""
        return max((partial.mtime_ns for partial in self._partials(f"{_key(artifact)}-*.part")), default=0)

    def lock_path(self, artifact: Artifact) -> Path:
        """For processes that want the same file to take turns."""
        return self.root / "locks" / f"{_key(artifact)}.lock"

    def start_over(self, artifact: Artifact) -> None:
        """Forget what earlier runs left of a file, whichever source it came from."""
        for path in self.partial.glob(f"{_key(artifact)}-*"):
            with suppress(OSError):
                path.unlink()

    def check_room(self, size: int) -> None:
        """Is there room for a file of that many bytes?

        Raises:
            CacheError: there is not.
        """
        from shutil import disk_usage  # as with tempfile, `reidhub show` is spared it

        free = next(disk_usage(path).free for path in (self.files, *self.files.parents) if path.exists())
        if free < size:
            raise CacheError(f"expected room for {size} bytes in {self.root}, {free} are free", hint=ROOM)

    def keep(self, incoming: Incoming, artifact: Artifact, *, name: str, source: str, checked_by: str) -> Path:
        """Give a complete file its final name.

        Raises:
            IntegrityError: its size or digest is not the artifact's, or not the one remembered for it.
            CacheError: the disk does not take it; no pin and no entry stays then.
        """
        digest = incoming.finish()
        self._hold(incoming, digest, artifact)
        path, entry_path = self.path(digest), self._entry_path(digest)
        with explain_write_errors(f"write {path}", hint=ROOM):
            try:
                with ExitStack() as undo:
                    if not artifact.pinned:
                        self._pin(artifact, {"name": name, "sha256": digest.hex, "checked_by": checked_by}, undo)
                    entry = Entry(digest.hex, incoming.size, incoming.path.stat().st_mtime_ns, checked_by, name, source)
                    if not path.exists():
                        undo.callback(entry_path.unlink, missing_ok=True)
                    write_json(entry_path, asdict(entry))
                    incoming.publish(path)
                    undo.pop_all()
            except FileNotFoundError as error:
                return self._kept_by_another(artifact, error)
        self.start_over(artifact)
        return path

    def _kept_by_another(self, artifact: Artifact, error: OSError) -> Path:
        if path := self.find(artifact):
            return path
        raise SourceError("another process has taken over what was downloaded") from error

    def _hold(self, incoming: Incoming, digest: Digest, artifact: Artifact) -> None:
        if artifact.size not in (None, incoming.size):
            raise IntegrityError(f"expected {artifact.size} bytes, got {incoming.size}")
        if artifact.digest not in (None, digest):
            raise IntegrityError(f"expected sha256 {artifact.digest}, got {digest}")
        if artifact.digest is None:
            self._hold_to_pin(digest, artifact)

    def _hold_to_pin(self, digest: Digest, artifact: Artifact) -> None:
        pinned = self.pin_of(artifact)
        if pinned not in (None, digest):
            raise IntegrityError(
                f"the first download had sha256 {pinned}, this one has {digest}",
                hint=f"if the new file is the right one, remove {self._pin_path(artifact)}",
            )

    def _pin(self, artifact: Artifact, pin: dict[str, str], undo: ExitStack) -> None:
        """Remember the first download; where two are the first at once, only one of them is."""
        path = self._pin_path(artifact)
        self.pins.mkdir(exist_ok=True)
        if path.exists() and self.pin_of(artifact) is None:
            path.unlink(missing_ok=True)  # damaged: it says nothing
        with suppress(FileExistsError):
            write_json(path, dict(pin), exclusive=True)
            undo.callback(path.unlink, missing_ok=True)
        self._hold_to_pin(Digest(pin["sha256"]), artifact)

    def _is_intact(self, path: Path, digest: Digest) -> bool:
        entry, state = self.entry(digest), path.stat()
        if entry and (entry.size, entry.mtime_ns) == (state.st_size, state.st_mtime_ns):
            return True
        if Digest.of_file(path) == digest:
            if entry:
                with suppress(OSError):  # the next look is a short one again
                    write_json(self._entry_path(digest), asdict(replace(entry, mtime_ns=state.st_mtime_ns)))
            return True
        with suppress(OSError):  # a read-only cache keeps its broken file; nobody is given it
            path.unlink()
        return False

    def _note_use(self, digest: Digest) -> None:
        path = self._entry_path(digest)
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _DAY_S:
                os.utime(path)

    def _partials(self, pattern: str) -> list[Partial]:
        return [partial for path in self.partial.glob(pattern) if (partial := Partial.at(path))]

    def _entry_path(self, digest: Digest) -> Path:
        return self.files / f"{digest.hex}.json"

    def _pin_path(self, artifact: Artifact) -> Path:
        identity = Digest.of_bytes(artifact.sources[0].location.encode())
        return self.pins / f"{identity.hex}.json"


def _key(artifact: Artifact, source: Source | None = None) -> str:
    """Names the beginnings of one file; with a source, those that came from there, keys in its address included."""
    known = [artifact.digest and artifact.digest.hex, artifact.size, artifact.mega_link, artifact.sources[0].location]
    parts = [known] if source is None else [known, [source.kind, source.location]]
    return "-".join(Digest.of_bytes(json.dumps(part).encode()).hex[:32] for part in parts)
