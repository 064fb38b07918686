"""Add files of this machine to the cache, if they are files of known checkpoints."""

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
"""A function that finds, by the tensors in a file, which of the given checkpoints the file may belong to."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What happened to one file.

    Args:
        path: the file.
        state: ``added``, ``known`` (the cache had it already), or ``refused``.
        names: the checkpoints that the file belongs to.
        checked_by: how it was recognised: ``sha256``, ``mega-mac`` (the checksum in a Mega link), or ``nothing``
            (only by its tensors).
        linked: True if the cache has a hard link to the file instead of a copy.
        reason: why the file was refused.
    """

    path: Path
    state: Literal["added", "known", "refused"]
    names: tuple[str, ...] = ()
    checked_by: str | None = None
    linked: bool = False
    reason: str | None = None


class Importer:
    """Adds files to a cache.

    Args:
        cache: the cache that the files are added to.
        checkpoints: the candidates that a file may belong to.
        by_tensors: called if neither sha256 nor MAC identifies a file, with the checkpoints that have neither of them.
        link: make hard links instead of copies, if the disk allows it; they need no disk space.
    """

    def __init__(
        self, cache: Cache, checkpoints: tuple[Checkpoint, ...], by_tensors: IdentifyByTensors, *, link: bool = True
    ) -> None:
        self._cache = cache
        self._checkpoints = checkpoints
        self._by_tensors = by_tensors
        self._link = link

    def add(self, path: Path) -> ImportResult:
        """Add one file to the cache, if it belongs to a checkpoint; the file itself does not change.

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
        """Find the checkpoints of a file, at least one, and its sha256."""
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
        """Store a copy in the same way as a download: hash it while it is written."""
        with self._cache.open_incoming() as incoming, path.open("rb") as file:
            while block := file.read(BLOCK):
                incoming.write(block)
            if incoming.digest != digest:
                raise IntegrityError("changed while it was read")
            checked_by, source = checkpoint.artifact.checked_by, path.absolute().as_uri()
            self._cache.keep(incoming, checkpoint.artifact, name=checkpoint.name, source=source, checked_by=checked_by)

    def _replace_by_link(self, path: Path, checkpoint: Checkpoint, digest: Digest) -> bool:
        """Replace the copy by a hard link to the file itself; the cache then hashes the file once more.

        Returns:
            False if the copy stays: the disk allows no link, or not every user may read the file. Many users may share
            the cache.
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
    """List the file itself, or all files in a folder and the folders below it, sorted by name, without hidden ones."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        with suppress(OSError):
            yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))
