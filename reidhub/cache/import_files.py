"""Files of this machine come into the cache, once it is known which checkpoint they are."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reidhub.cache.identify import recognised
from reidhub.cache.store import Cache
from reidhub.errors import IntegrityError, SourceError
from reidhub.files.digest import BLOCK, Digest
from reidhub.files.sniff import looked_at
from reidhub.zoo.checkpoint import Checkpoint

ByContent = Callable[[Path, list[Checkpoint]], list[Checkpoint]]
"""Tells by the tensors in a file which of the checkpoints it may be."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of a file.

    Args:
        path: where it lies.
        state: ``added``, ``known`` (the cache had it already), or ``refused``.
        names: of the checkpoints that it is the file of.
        checked_by: what its bytes were held to: ``sha256``, ``mega-mac``, or ``nothing`` (known by its tensors).
        linked: True where the cache shares the disk space of the file.
        reason: why it was refused.
    """

    path: Path
    state: Literal["added", "known", "refused"]
    names: tuple[str, ...] = ()
    checked_by: str | None = None
    linked: bool = False
    reason: str | None = None


class Adoption:
    """Takes files into a cache.

    Args:
        cache: where they come.
        checkpoints: whose files they may be.
        by_content: asked about a file that neither sha256 nor MAC knows, with the checkpoints that have neither.
        link: share the disk space of the files where the disk allows it.
    """

    def __init__(
        self, cache: Cache, checkpoints: tuple[Checkpoint, ...], by_content: ByContent, *, link: bool = True
    ) -> None:
        self._cache = cache
        self._checkpoints = checkpoints
        self._by_content = by_content
        self._link = link

    def adopt(self, path: Path) -> Adopted:
        """Take one file in, where it is a checkpoint's; the file itself stays as it is.

        Raises:
            CacheError: the cache cannot be written.
        """
        try:
            found, digest = self._recognised(path)
            return self._taken(path, digest, found)
        except SourceError as error:
            return Adopted(path, "refused", reason="; ".join(filter(None, (error.message, error.hint))))
        except OSError as error:
            return Adopted(path, "refused", reason=f"cannot be read: {error.strerror}")

    def _recognised(self, path: Path) -> tuple[list[Checkpoint], Digest]:
        if not path.is_file():
            raise SourceError("is no regular file")
        with path.open("rb") as file:
            looked_at(iter(lambda: file.read(BLOCK), b""))
        digest = Digest.of_file(path)
        found = recognised(path, digest, self._checkpoints)
        if not found:
            found = self._by_content(path, [c for c in self._checkpoints if c.artifact.held_to == "nothing"])
        if not found:
            raise SourceError(f"is no file that the manifest knows (sha256 {digest})")
        return found, digest

    def _taken(self, path: Path, digest: Digest, found: list[Checkpoint]) -> Adopted:
        names, held_to = tuple(checkpoint.name for checkpoint in found), found[0].artifact.held_to
        stored = self._cache.path(digest)
        missing = [checkpoint for checkpoint in found if self._cache.find(checkpoint.artifact) != stored]
        for checkpoint in missing:
            self._copy(path, digest, checkpoint)
        if not missing:
            return Adopted(path, "known", names, held_to)
        linked = self._link and self._shared(path, missing[0], digest)
        return Adopted(path, "added", names, held_to, linked)

    def _copy(self, path: Path, digest: Digest, checkpoint: Checkpoint) -> None:
        """Through the one gate of the cache, which hashes what it gets."""
        with self._cache.incoming() as incoming, path.open("rb") as file:
            while block := file.read(BLOCK):
                incoming.write(block)
            if incoming.finish() != digest:
                raise IntegrityError("changed while it was read")
            held_to, source = checkpoint.artifact.held_to, path.absolute().as_uri()
            self._cache.keep(incoming, checkpoint.artifact, name=checkpoint.name, source=source, checked_by=held_to)

    def _shared(self, path: Path, checkpoint: Checkpoint, digest: Digest) -> bool:
        """Put the file itself, under a second name, in the place of its copy; the cache hashes it once more then.

        A file that not everybody may read stays copied, as the cache may be shared by many.
        """
        real, stored = path.resolve(), self._cache.path(digest)
        link = stored.parent / f".incoming-{secrets.token_hex(8)}"
        try:
            if real.stat().st_mode & 0o444 != 0o444:
                return False
            os.link(real, link)
            link.replace(stored)
        except OSError:  # another disk, or one that knows no links
            return False
        finally:
            link.unlink(missing_ok=True)
        if self._cache.find(checkpoint.artifact) is None:  # it changed in this very moment, and the cache let it go
            raise IntegrityError("changed while it was read")
        return True


def files_below(path: Path) -> Iterator[Path]:
    """The file itself, or every file in a folder and those below it, by name; hidden ones left out."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        with suppress(OSError):
            yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))
