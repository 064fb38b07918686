"""A parsed copy of the manifest in the cache folder, so that an unchanged manifest is parsed and checked only once.

The copy is a file of JSON lines: a header, the names of all checkpoints, the architectures, the layouts, and then one
line per checkpoint, which is parsed only when that checkpoint is looked up. The header contains the version of reidhub,
a digest of the manifest files, and a digest of the lines after the header. If the header is not the expected one, or
the copy belongs to another user, the copy is ignored and replaced. If the folder for the copy cannot be written, the
manifest is parsed at every start.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reidhub._version import __version__
from reidhub.files.atomic import remove_leftovers, write_atomically
from reidhub.files.digest import Digest
from reidhub.files.locations import cache_root
from reidhub.files.regular_file import open_regular_file
from reidhub.files.strict_json import from_json, to_json
from reidhub.zoo.checkpoint import Architecture, Checkpoint
from reidhub.zoo.known_files import KnownFile
from reidhub.zoo.known_layouts import KnownLayout

FORMAT = 11
"""Increase this number if the format of the lines changes, or if `manifest_reader` reads a manifest differently."""

_KEPT = 8  # newest copies that are kept; each set of manifest files has its own copy


@dataclass(frozen=True, slots=True)
class ParsedCopy:
    """The parsed copy of one set of manifest files.

    Args:
        path: path of the copy. It depends on the paths of the manifest files, not on their contents. If a manifest file
            changes, the new copy replaces the old one.
        manifest: digest of the paths and contents of the manifest files. A copy with another digest is not used.
    """

    path: Path
    manifest: Digest

    @classmethod
    def of(cls, files: Sequence[tuple[Path, bytes]]) -> "ParsedCopy":
        """Return the `ParsedCopy` for manifest files, without reading the copy from the disk.

        Args:
            files: path and content of each manifest file.

        Raises:
            CacheError: there is no cache folder, because this user has no home folder.
        """
        paths = [(str(file), str(file.absolute())) for file, _ in files]  # links to local files depend on both
        contents = [Digest.of_bytes(content).hex for _, content in files]
        name = Digest.of_bytes(to_json(paths)).hex
        return cls(cache_root() / "manifest" / f"{name}.jsonl", Digest.of_bytes(to_json([paths, contents])))

    def read(
        self, parse: Callable[[], Mapping[str, Checkpoint]]
    ) -> (
        tuple[Mapping[str, Checkpoint], tuple[Architecture, ...], tuple[KnownLayout, ...], tuple[KnownFile, ...]] | None
    ):
        """Read the values of a `Manifest` in the copy, or return None if there is no valid copy.

        Args:
            parse: parses the manifest files. It is not called here, but later: when a checkpoint is looked up and its
                line in the copy is malformed.
        """
        try:
            header, _, content = _read_own_file(self.path).partition(b"\n")
            if header != self._header(content):
                return None
            names, architectures, layouts, known_files, *lines = content.split(b"\n")
            records = dict(zip(from_json(tuple[str, ...], names), lines, strict=True))
            return (
                StoredCheckpoints(records, parse),
                from_json(tuple[Architecture, ...], architectures),
                from_json(tuple[KnownLayout, ...], layouts),
                from_json(tuple[KnownFile, ...], known_files),
            )
        except (OSError, ValueError):
            return None

    def write(
        self,
        checkpoints: Sequence[Checkpoint],
        architectures: Sequence[Architecture],
        layouts: Sequence[KnownLayout],
        known_files: Sequence[KnownFile],
    ) -> None:
        """Write the copy to the disk. If the folder cannot be written, do nothing; the next start is slower then."""
        head = [to_json([c.name for c in checkpoints]), *map(to_json, (architectures, layouts, known_files))]
        content = b"\n".join([*head, *map(to_json, checkpoints)])
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(self.path) as file:
                file.write(self._header(content) + b"\n" + content)
            _remove_old(self.path.parent)

    def _header(self, content: bytes) -> bytes:
        digests = {"manifest": self.manifest.hex, "content": Digest.of_bytes(content).hex}
        return to_json({"reidhub": __version__, "format": FORMAT, **digests})


class StoredCheckpoints(Mapping[str, Checkpoint]):
    """A mapping of name -> checkpoint that parses the line of a checkpoint at its first look-up.

    Args:
        lines: name -> JSON of the checkpoint.
        parse: parses the manifest files; called if the line of a checkpoint is malformed.
    """

    def __init__(self, lines: Mapping[str, bytes], parse: Callable[[], Mapping[str, Checkpoint]]) -> None:
        self._lines = lines
        self._parse = parse
        self._read: dict[str, Checkpoint] = {}

    def __getitem__(self, name: str) -> Checkpoint:
        if name not in self._read:
            line = self._lines[name]
            try:
                self._read[name] = from_json(Checkpoint, line)
            except ValueError:
                self._read = dict(self._parse())
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


def _read_own_file(path: Path) -> bytes:
    """Read a regular file that belongs to this user.

    Raises:
        OSError: the file is missing, is not a regular file of this user, or cannot be read.
    """
    with open_regular_file(path) as file:
        if hasattr(os, "geteuid") and os.fstat(file.fileno()).st_uid != os.geteuid():
            raise PermissionError(f"{path} is not a file of this user")
        return file.read()


def _remove_old(folder: Path) -> None:
    copies = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
    for path in copies[:-_KEPT]:
        path.unlink(missing_ok=True)
    remove_leftovers(folder)
