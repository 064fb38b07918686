"""A parsed copy of the manifest in the cache folder, so that an unchanged manifest is parsed and checked only once.

The copy is a file of JSON lines: a header, the names of all checkpoints, the architectures, and then one line per
checkpoint, which is read when that checkpoint is asked for. The header contains the digests of the manifest files and
of the lines below it. A copy with another header, or of another user, is ignored and replaced. If the folder for the
copy cannot be written, the manifest is parsed at every start.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from reidhub._version import __version__
from reidhub.files.atomic import remove_leftovers, write_atomically
from reidhub.files.digest import Digest
from reidhub.files.locations import cache_root
from reidhub.files.strict_json import from_json, to_json
from reidhub.zoo.checkpoint import Architecture, Checkpoint

FORMAT = 1
"""Increase it when the lines change, or when `manifest_reader` reads the same manifest in another way."""

_KEPT = 8  # copies, each of another set of manifest files


@dataclass(frozen=True, slots=True)
class ParsedCopy:
    """The copy of one set of manifest files.

    Args:
        path: the copy's file; the same for the same manifest files, whatever they contain.
        manifest: digest of the manifest files' paths and contents.
    """

    path: Path
    manifest: Digest

    @classmethod
    def of(cls, files: Sequence[tuple[Path, bytes]]) -> "ParsedCopy":
        """Name the copy of manifest files, given as path and content.

        Raises:
            CacheError: there is no folder for it.
        """
        paths = [(str(file), str(file.absolute())) for file, _ in files]  # links to local files depend on both
        contents = [Digest.of_bytes(content).hex for _, content in files]
        name = Digest.of_bytes(to_json(paths)).hex
        return cls(cache_root() / "manifest" / f"{name}.jsonl", Digest.of_bytes(to_json([paths, contents])))

    def read(
        self, parse: Callable[[], Mapping[str, Checkpoint]]
    ) -> tuple[Mapping[str, Checkpoint], tuple[Architecture, ...]] | None:
        """Read the copy, or return None where there is no valid one.

        Args:
            parse: parses the manifest; called later if the line of a checkpoint turns out to be wrong.
        """
        try:
            header, _, content = _read_own_file(self.path).partition(b"\n")
            if header != self._header(content):
                return None
            names, architectures, *lines = content.split(b"\n")
            records = dict(zip(from_json(tuple[str, ...], names), lines, strict=True))
            return StoredCheckpoints(records, parse), from_json(tuple[Architecture, ...], architectures)
        except (OSError, ValueError):
            return None

    def write(self, checkpoints: Sequence[Checkpoint], architectures: Sequence[Architecture]) -> None:
        """Replace the copy; a folder that cannot be written only makes the next start slower."""
        lines = [to_json([c.name for c in checkpoints]), to_json(architectures), *map(to_json, checkpoints)]
        content = b"\n".join(lines)
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(self.path) as file:
                file.write(self._header(content) + b"\n" + content)
            _remove_old(self.path.parent)

    def _header(self, content: bytes) -> bytes:
        digests = {"manifest": self.manifest.hex, "content": Digest.of_bytes(content).hex}
        return to_json({"reidhub": __version__, "format": FORMAT, **digests})


class StoredCheckpoints(Mapping[str, Checkpoint]):
    """Name -> checkpoint; each is read from its line when it is asked for.

    Args:
        lines: name -> JSON.
        parse: parses the manifest, if a line is wrong after all.
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
        OSError: it is none, or cannot be read.
    """

    def open_without_waiting(name: str, flags: int) -> int:  # for a writer, if the file is a pipe
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    with open(path, "rb", opener=open_without_waiting) as file:
        state = os.fstat(file.fileno())
        if not S_ISREG(state.st_mode) or (hasattr(os, "geteuid") and state.st_uid != os.geteuid()):
            raise PermissionError(f"{path} is not a file of this user")
        return file.read()


def _remove_old(folder: Path) -> None:
    copies = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
    for path in copies[:-_KEPT]:
        path.unlink(missing_ok=True)
    remove_leftovers(folder)
