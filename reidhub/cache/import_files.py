"""Add files of this machine to the cache, if they belong to checkpoints of the manifest."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reidhub.cache.identify import identify
from reidhub.cache.store import Cache
from reidhub.errors import IntegrityError, SourceError
from reidhub.files.atomic import TEMPORARY
from reidhub.files.digest import BLOCK, Digest
from reidhub.files.sniff import refuse_pages
from reidhub.zoo.checkpoint import Checkpoint

IdentifyByTensors = Callable[[Path, list[Checkpoint]], list[Checkpoint]]
"""A function that finds which of the given checkpoints a file may belong to; it compares the tensors in the file."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The result of adding one file to the cache.

    Args:
        path: the file.
        state: ``added``, ``known`` (the cache had it already), or ``refused``.
        names: names of the checkpoints that the file belongs to.
        checked_by: the checksum by which the file was recognised: ``sha256``, ``mega-mac`` (the checksum in a Mega
            link), or ``nothing`` if no checksum is known and the tensors were compared. None if it was refused.
        linked: True if the cache has a hard link to the file instead of a copy.
        reason: why the file was refused; None if it was not.
    """

    path: Path
    state: Literal["added", "known", "refused"]
    names: tuple[str, ...] = ()
    checked_by: str | None = None
    linked: bool = False
    reason: str | None = None


class Importer:
    """Adds files of this machine to a cache.

    Args:
        cache: the cache that the files are added to.
        checkpoints: the candidates that a file may belong to.
        by_tensors: function that compares the tensors in a file. It is called if no checksum identifies the file (no
            sha256, no MAC in a Mega link). It gets only the checkpoints for which no checksum is known.
        link: make hard links instead of copies, if the disk allows it. Hard links need no disk space.
    """

    def __init__(
        self, cache: Cache, checkpoints: tuple[Checkpoint, ...], by_tensors: IdentifyByTensors, *, link: bool = True
    ) -> None:
        self._cache = cache
        self._checkpoints = checkpoints
        self._by_tensors = by_tensors
        self._link = link

    def add(self, path: Path) -> ImportResult:
        """Add one file to the cache, if it belongs to a checkpoint; the original file does not change.

        Raises:
            CacheError: the cache cannot be written.
        """
        try:
            checkpoints, digest = self._identify(path)
            return self._add(path, digest, checkpoints)
        except SourceError as error:
            return ImportResult(path, "refused", reason="; ".join(filter(None, (error.message, error.hint))))
        except OSError as error:
            return ImportResult(path, "refused", reason=f"cannot be read: {error.strerror}")

    def _identify(self, path: Path) -> tuple[list[Checkpoint], Digest]:
        """Return the checkpoints that a file belongs to (at least one), and the sha256 of the file."""
        if not path.is_file():
            raise SourceError("is no regular file")
        with path.open("rb") as file:
            refuse_pages(iter(lambda: file.read(BLOCK), b""))
        digest = Digest.of_file(path)
        found = identify(path, digest, self._checkpoints)
        if not found:
            found = self._by_tensors(path, [c for c in self._checkpoints if c.artifact.checked_by == "nothing"])
        if not found:
            raise SourceError(f"is no file that the manifest knows (sha256 {digest})")
        return found, digest

    def _add(self, path: Path, digest: Digest, checkpoints: list[Checkpoint]) -> ImportResult:
        names, checked_by = tuple(checkpoint.name for checkpoint in checkpoints), checkpoints[0].artifact.checked_by
        stored = self._cache.path(digest)
        missing = [checkpoint for checkpoint in checkpoints if self._cache.find(checkpoint.artifact) != stored]
        for checkpoint in missing:
            self._copy(path, digest, checkpoint)
        if not missing:
            return ImportResult(path, "known", names, checked_by)
        linked = self._link and self._replace_by_link(path, missing[0], digest)
        return ImportResult(path, "added", names, checked_by, linked)

    def _copy(self, path: Path, digest: Digest, checkpoint: Checkpoint) -> None:
        """Store a copy of the file in the cache, in the same way as a download: hash the copy while it is written."""
        with self._cache.open_incoming() as incoming, path.open("rb") as file:
            while block := file.read(BLOCK):
                incoming.write(block)
            if incoming.digest != digest:
                raise IntegrityError("changed while it was read")
            checked_by, source = checkpoint.artifact.checked_by, path.absolute().as_uri()
            self._cache.keep(incoming, checkpoint.artifact, name=checkpoint.name, source=source, checked_by=checked_by)

    def _replace_by_link(self, path: Path, checkpoint: Checkpoint, digest: Digest) -> bool:
        """Replace the copy in the cache by a hard link to the original file, then check the file again.

        Returns:
            True if the link replaced the copy. False if a hard link is not possible, or if some users may not read the
            original file. They could not read a link to it in a shared cache, but they can read a copy.

        Raises:
            IntegrityError: the original file was changed in the meantime.
        """
        real, stored = path.resolve(), self._cache.path(digest)
        link = stored.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
        try:
            if real.stat().st_mode & 0o444 != 0o444:
                return False
            os.link(real, link)
            link.replace(stored)
        except OSError:  # another disk, or one without hard links
            return False
        finally:
            link.unlink(missing_ok=True)
        if self._cache.find(checkpoint.artifact) is None:  # the file changed meanwhile, and the cache removed the link
            raise IntegrityError("changed while it was read")
        return True


def list_files(path: Path) -> Iterator[Path]:
    """List one file, or all files in a folder and its subfolders, sorted by name, without hidden files and folders."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        with suppress(OSError):
            yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))
