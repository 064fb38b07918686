"""What lies in the cache, whether it is intact, and what can go.

Nothing here is needed to load a checkpoint: the cache never grows unusable, only large.
"""

import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reidhub.cache.store import Cache, Entry
from reidhub.errors import CacheError
from reidhub.files.digest import Digest
from reidhub.zoo.checkpoint import Artifact

_NAME = re.compile(r"([0-9a-f]{64})\..+")
_LEFT_OVER_S = 3600.0  # what nobody has written to for so long is of a run that was killed
_AT_ONCE = 4  # files that are hashed together


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the cache.

    Args:
        digest: that its name says.
        paths: the file itself, then what is kept beside it.
        size: bytes of all of them.
        entry: what is remembered of it; None where nothing readable is.
        last_used: seconds since 1970; noted once a day.
        changed: True where it was touched since it was stored, so that its next use hashes it again.
    """

    digest: Digest
    paths: tuple[Path, ...]
    size: int
    entry: Entry | None
    last_used: float
    changed: bool

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.paths[0]

    @property
    def name(self) -> str:
        """The checkpoint it was first fetched for; ``?`` where that is not remembered."""
        return str(self.entry.name) if self.entry else "?"


@dataclass(frozen=True, slots=True)
class Removal:
    """Something that can go from the cache, and why.

    Args:
        name: of a checkpoint; ``?`` where it is not known.
        paths: files to remove.
        size: bytes of all of them.
        reason: in words.
        tree: True where the path is a folder, which goes with all that is in it.
    """

    name: str
    paths: tuple[Path, ...]
    size: int
    reason: str
    tree: bool = False

    def carry_out(self) -> None:
        """Remove the files; those that are gone already do not matter.

        Raises:
            CacheError: the folder does not allow it.
        """
        for path in self.paths:
            try:
                if self.tree:
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise CacheError(f"cannot remove {path}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Checked:
    """A file after its bytes were hashed, with those of its conversion; ``reason`` says why it is not ``intact``.

    Args:
        file: of the cache.
        state: of all of it.
        reason: in words.
        paths: what has to go where it is broken: the conversion alone, or everything.
    """

    file: Stored
    state: Literal["intact", "broken", "unreadable"]
    reason: str | None = None
    paths: tuple[Path, ...] = ()

    @property
    def removal(self) -> Removal:
        """What it takes to be rid of it."""
        return Removal(self.file.name, self.paths, sum(map(_size, self.paths)), self.reason or "intact")


def stored(cache: Cache) -> list[Stored]:
    """Every file of the cache by the name of its checkpoint; no file's content is read.

    Raises:
        CacheError: the folder cannot be read.
    """
    found = (_stored(cache, digest, paths) for digest, paths in _groups(cache).items())
    return sorted((file for file in found if file), key=lambda file: (file.name, file.digest.hex))


def check(files: Iterable[Stored]) -> Iterator[Checked]:
    """Hash every file, in their order."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="reidhub-check") as pool:
        yield from pool.map(_checked, files)


def left_over(cache: Cache) -> list[Removal]:
    """What runs that were killed have left and nobody has written to for an hour; resumable downloads among it."""
    gone = time.time() - _LEFT_OVER_S
    found = []
    for partial in cache.partials():
        if partial.mtime_ns / 1e9 < gone:
            found.append(Removal(partial.name or "?", partial.paths, partial.size, "left by a run that was cut short"))
    for digest, paths in _groups(cache).items():
        if paths[0].name != f"{digest.hex}.pth" and all(_mtime(path) < gone for path in paths):
            found.append(Removal("?", paths, sum(map(_size, paths)), "belongs to a file that is gone"))
    return found


def unused(files: Iterable[Stored], seconds: float) -> list[Removal]:
    """The files that nobody has used for so long."""
    now = time.time()
    return [_removal(file, f"last used {_day(file.last_used)}") for file in files if file.last_used < now - seconds]


def over(files: Iterable[Stored], size: int) -> list[Removal]:
    """The files that have to go, least recently used first, until no more than ``size`` bytes are left."""
    by_use = sorted(files, key=lambda file: (file.last_used, file.digest.hex))
    total, found = sum(file.size for file in by_use), []
    for file in by_use:
        if total <= size:
            break
        total -= file.size
        found.append(_removal(file, f"over the size, last used {_day(file.last_used)}"))
    return found


def prunable(cache: Cache, *, unused_since_s: float | None = None, max_size: int | None = None) -> list[Removal]:
    """What can go: left-overs and broken files always; what is unused or over the size as far as that is asked for.

    Args:
        cache: looked through; every file that is not unused is hashed.
        unused_since_s: seconds.
        max_size: bytes.

    Raises:
        CacheError: the folder cannot be read.
    """
    files = stored(cache)
    found = left_over(cache)
    old = unused(files, unused_since_s) if unused_since_s is not None else []
    removed = {removal.paths for removal in old}
    checked = check(file for file in files if file.paths not in removed)
    faulty = [result.removal for result in checked if result.state == "broken"]
    removed |= {removal.paths for removal in faulty}
    rest = [file for file in files if file.paths not in removed]
    return [*found, *faulty, *old, *(over(rest, max_size) if max_size is not None else [])]


def compiled(cache: Cache) -> list[Removal]:
    """The code that embedders keep, all of it; none where there is none."""
    size = sum(_size(path) for path in cache.compiled.rglob("*") if path.is_file())
    removal = Removal("compiled code", (cache.compiled,), size, "made again when it is needed", tree=True)
    return [removal] if size else []


def removal_of(cache: Cache, artifact: Artifact) -> Removal | None:
    """The removal of one checkpoint's file; None where the cache has none, intact or not."""
    digest = artifact.digest or cache.pin_of(artifact)
    paths = _groups(cache).get(digest) if digest else None
    file = _stored(cache, digest, paths) if digest and paths else None
    return _removal(file, "asked for") if file else None


def _groups(cache: Cache) -> dict[Digest, tuple[Path, ...]]:
    """The files of the cache by the digest in their names; the checkpoint's file first where it is there."""
    groups: dict[Digest, list[Path]] = {}
    try:
        for path in cache.files.iterdir():
            if name := _NAME.fullmatch(path.name):
                groups.setdefault(Digest(name[1]), []).append(path)
    except FileNotFoundError:  # nothing was ever stored
        return {}
    except OSError as error:
        raise CacheError(f"cannot read the cache folder {cache.files}: {error.strerror}") from error
    return {digest: tuple(sorted(paths, key=_file_first)) for digest, paths in groups.items()}


def _file_first(path: Path) -> tuple[bool, str]:
    return path.suffix != ".pth", path.name


def _stored(cache: Cache, digest: Digest, paths: tuple[Path, ...]) -> Stored | None:
    if paths[0] != cache.path(digest):
        return None
    try:
        info = paths[0].stat()
    except OSError:  # removed in the meantime
        return None
    entry = cache.entry(digest)
    known = entry and (entry.size, entry.mtime_ns) == (info.st_size, info.st_mtime_ns)
    used = _mtime(paths[0].with_suffix(".json")) if entry else info.st_mtime
    return Stored(digest, paths, sum(map(_size, paths)), entry, used, not known)


def _checked(file: Stored) -> Checked:
    try:
        digest, converted = Digest.of_file(file.path), _broken_conversion(file)
    except OSError as error:
        return Checked(file, "unreadable", f"cannot be read: {error.strerror}")
    if digest != file.digest:
        return Checked(file, "broken", f"broken: expected sha256 {file.digest}, got {digest}", file.paths)
    return Checked(file, "broken", "its conversion is broken", converted) if converted else Checked(file, "intact")


def _broken_conversion(file: Stored) -> tuple[Path, ...]:
    """The converted weights beside a file, with the note on them, where the two do not agree."""
    path = file.path.with_suffix(".safetensors")
    note = path.with_suffix(".safetensors.json")
    if path not in file.paths:
        return ()
    digest = Digest.of_file(path)
    try:
        agrees = json.loads(note.read_text(encoding="utf-8"))["sha256"] == digest.hex
    except (OSError, ValueError, TypeError, KeyError):
        agrees = False
    return () if agrees else (path, note)


def _removal(file: Stored, reason: str) -> Removal:
    return Removal(file.name, file.paths, file.size, reason)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
