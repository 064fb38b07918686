"""List and check the files in the cache, and find those that can be removed.

The cache never removes intact files by itself, so it grows until the user removes files. It also works if the user
never removes any.

A file may have converted copies, which have the original's sha256 in their names: a ``.safetensors`` file with the same
weights, and models for OpenVINO.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reidhub.cache.conversions import is_conversion, is_outdated
from reidhub.cache.records import Entry
from reidhub.cache.store import Cache
from reidhub.errors import CacheError
from reidhub.files.atomic import LEFTOVER_S
from reidhub.files.digest import Digest
from reidhub.zoo.artifact import Artifact

_NAME = re.compile(r"([0-9a-f]{64})\..+")
_WORKERS = 4  # files hashed at a time


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the cache.

    Args:
        digest: the sha256 in the name of the file.
        paths: the checkpoint's file, then the other files with the same sha256 in their names.
        size: bytes of all these files together.
        entry: the cache's record of the file; None if there is no readable record.
        last_used: time of the last use in seconds since 1970; updated at most once a day.
        changed: True if size or modification time differ from the record, or if there is no record. The next use of
            the file then hashes it again.
    """

    digest: Digest
    paths: tuple[Path, ...]
    size: int
    entry: Entry | None
    last_used: float
    changed: bool

    @property
    def path(self) -> Path:
        """Path of the checkpoint's file."""
        return self.paths[0]

    @property
    def copies(self) -> tuple[Path, ...]:
        """Paths of the converted copies: the safetensors file and the models for OpenVINO."""
        return tuple(path for path in self.paths if path.suffix == ".safetensors" or is_conversion(path))

    @property
    def name(self) -> str:
        """Name of the checkpoint that the file was first fetched for; ``?`` if the cache has no record of the file."""
        return str(self.entry.name) if self.entry else "?"


@dataclass(frozen=True, slots=True)
class Removal:
    """Files that can be removed from the cache together, and the reason.

    Args:
        name: name of the checkpoint; ``?`` if it is not known.
        paths: the files.
        size: bytes of all files together.
        reason: why they can be removed, in words.
    """

    name: str
    paths: tuple[Path, ...]
    size: int
    reason: str

    def carry_out(self) -> None:
        """Remove the files; ignore files that are already gone.

        Raises:
            CacheError: a file or folder cannot be removed.
        """
        for path in self.paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise CacheError(f"cannot remove {path}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """The result of checking a file in the cache and its converted copies.

    Args:
        file: the file.
        state: ``intact`` (the file and its copies), ``broken`` or ``unreadable``.
        reason: why the state is not ``intact``, in words; None if it is.
        paths: the files to remove if the state is ``broken``. If the checkpoint's own file is broken, these are all
            files of the checkpoint. If only converted copies are broken, these are the broken copies and their records.
    """

    file: StoredFile
    state: Literal["intact", "broken", "unreadable"]
    reason: str | None = None
    paths: tuple[Path, ...] = ()

    @property
    def removal(self) -> Removal:
        """The `Removal` that deletes the broken files; it has no files if the state is not ``broken``."""
        return Removal(self.file.name, self.paths, sum(map(_read_size, self.paths)), self.reason or "intact")


def list_stored(cache: Cache) -> list[StoredFile]:
    """List the files in the cache, sorted by the name of the checkpoint, without reading their content.

    Raises:
        CacheError: the folder cannot be read.
    """
    found = (_describe(cache, digest, paths) for digest, paths in _group_by_digest(cache).items())
    return sorted((file for file in found if file), key=lambda file: (file.name, file.digest.hex))


FindWrongCopies = Callable[[StoredFile], tuple[Path, ...]]
"""A function that compares the converted copies of an intact checkpoint's file with the file itself.

It returns the files to remove: the copies that are damaged or do not agree with the original, and their records."""


def check(files: Iterable[StoredFile], find_wrong_copies: FindWrongCopies) -> Iterator[CheckedFile]:
    """Check every file and its converted copies; yield the results in the order of the files.

    Args:
        files: the files; each is hashed.
        find_wrong_copies: called in several threads, only for files that are intact and have copies.
    """

    def check_one(file: StoredFile) -> CheckedFile:
        return _check(file, find_wrong_copies)

    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="reidhub-check") as pool:
        yield from pool.map(check_one, files)


def find_leftovers(cache: Cache) -> list[Removal]:
    """Find the files of interrupted runs, such as partial downloads, that have not been written to for an hour.

    If a checkpoint's file no longer exists, its converted copies and its record are leftovers too.
    """
    before = time.time() - LEFTOVER_S
    found = []
    for partial in cache.list_partials():
        if partial.mtime_ns / 1e9 < before:
            found.append(Removal(partial.name or "?", partial.paths, partial.size, "left by an interrupted run"))
    for digest, paths in _group_by_digest(cache).items():
        if paths[0].name != f"{digest.hex}.pth" and all(_read_mtime(path) < before for path in paths):
            found.append(Removal("?", paths, sum(map(_read_size, paths)), "belongs to a file that is gone"))
    return found


def find_prunable(
    cache: Cache,
    find_wrong_copies: FindWrongCopies,
    *,
    unused_since_s: float | None = None,
    max_size: int | None = None,
) -> list[Removal]:
    """Find the files to remove: leftovers, broken files, outdated models for OpenVINO and, on request, unused files.

    Args:
        cache: the cache; every file in it is checked, except the files that ``unused_since_s`` selects.
        find_wrong_copies: see `check`.
        unused_since_s: find also files that were not used for this number of seconds.
        max_size: find also the least recently used files, until the remaining files have at most this number of bytes.

    Raises:
        CacheError: the folder cannot be read.
    """
    files = list_stored(cache)
    leftovers = find_leftovers(cache)
    unused = _find_unused(files, unused_since_s) if unused_since_s is not None else []
    gone = {removal.paths for removal in unused}
    checked = check((file for file in files if file.paths not in gone), find_wrong_copies)
    broken = [result.removal for result in checked if result.state == "broken"]
    gone |= {removal.paths for removal in broken}
    rest = [file for file in files if file.paths not in gone]
    outdated = _find_outdated_conversions(rest)
    excess = _find_excess(rest, max_size) if max_size is not None else []
    return [*leftovers, *broken, *unused, *outdated, *excess]


def find_removal(cache: Cache, artifact: Artifact) -> Removal | None:
    """Return the `Removal` of one checkpoint's files, intact or not; None if the cache has no such files."""
    digest = artifact.digest or cache.read_pin(artifact)
    paths = _group_by_digest(cache).get(digest) if digest else None
    file = _describe(cache, digest, paths) if digest and paths else None
    return _make_removal(file, "asked for") if file else None


def _find_unused(files: Iterable[StoredFile], seconds: float) -> list[Removal]:
    before = time.time() - seconds
    return [
        _make_removal(file, f"last used {_format_day(file.last_used)}") for file in files if file.last_used < before
    ]


def _find_outdated_conversions(files: Iterable[StoredFile]) -> list[Removal]:
    """Find models for OpenVINO that were made for another version of OpenVINO, or in an older format."""
    return [
        Removal(file.name, (path,), _read_size(path), "made for another version of OpenVINO")
        for file in files
        for path in file.paths
        if is_outdated(path)
    ]


def _find_excess(files: Iterable[StoredFile], size: int) -> list[Removal]:
    """Find the least recently used files that must be removed so that at most ``size`` bytes remain."""
    by_use = sorted(files, key=lambda file: (file.last_used, file.digest.hex))
    total, found = sum(file.size for file in by_use), []
    for file in by_use:
        if total <= size:
            break
        total -= file.size
        found.append(_make_removal(file, f"over the size, last used {_format_day(file.last_used)}"))
    return found


def _group_by_digest(cache: Cache) -> dict[Digest, tuple[Path, ...]]:
    """Group the files by the sha256 in their names; in each group, the checkpoint's own file comes first."""
    groups: dict[Digest, list[Path]] = {}
    try:
        for path in cache.files.iterdir():
            if name := _NAME.fullmatch(path.name):
                groups.setdefault(Digest(name[1]), []).append(path)
    except FileNotFoundError:  # nothing was ever stored
        return {}
    except OSError as error:
        raise CacheError(f"cannot read the cache folder {cache.files}: {error.strerror}") from error
    return {digest: tuple(sorted(paths, key=_own_file_first)) for digest, paths in groups.items()}


def _own_file_first(path: Path) -> tuple[bool, str]:
    return path.suffix != ".pth", path.name


def _describe(cache: Cache, digest: Digest, paths: tuple[Path, ...]) -> StoredFile | None:
    if paths[0] != cache.path(digest):
        return None
    try:
        info = paths[0].stat()
    except OSError:  # removed in the meantime
        return None
    entry = cache.read_entry(digest)
    unchanged = entry and (entry.size, entry.mtime_ns) == (info.st_size, info.st_mtime_ns)
    last_used = _read_mtime(paths[0].with_suffix(".json")) if entry else info.st_mtime
    return StoredFile(digest, paths, sum(map(_read_size, paths)), entry, last_used, not unchanged)


def _check(file: StoredFile, find_wrong_copies: FindWrongCopies) -> CheckedFile:
    try:
        digest = Digest.of_file(file.path)
        if digest != file.digest:
            return CheckedFile(file, "broken", f"broken: expected sha256 {file.digest}, got {digest}", file.paths)
        if file.copies and (wrong := find_wrong_copies(file)):
            return CheckedFile(file, "broken", "its conversion is broken", wrong)
    except OSError as error:
        return CheckedFile(file, "unreadable", f"cannot be read: {error.strerror}")
    return CheckedFile(file, "intact")


def _make_removal(file: StoredFile, reason: str) -> Removal:
    return Removal(file.name, file.paths, file.size, reason)


def _read_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read_mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _format_day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
