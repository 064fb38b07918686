"""Build a mirror: a folder with copies of checkpoint files, which a web server or a shared disk can offer to others.

A user of the mirror sets ``$REIDHUB_MIRROR`` to the folder or to its web address. Each file lies directly in the
folder, with the name `Checkpoint.file_name`. ``index.json`` and ``SHA256SUMS`` list the intact files. A file is written
completely or not at all, and an intact file is not written again.

Some files are *unpinned*: the manifest has no sha256 for them. If the manifest has a Mega link for such a file, the
file is checked with the MAC, a checksum in the Mega link.
"""

import hashlib
import json
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from reidhub.cache.identify import check_file
from reidhub.cache.store import Cache
from reidhub.download.fetch import Fetcher
from reidhub.errors import CancelledError, IntegrityError, ReidhubError, UsageError
from reidhub.files.atomic import explain_write_errors, remove_leftovers, write_atomically, write_text
from reidhub.files.digest import BLOCK, Digest
from reidhub.files.regular_file import open_regular_file
from reidhub.files.strict_json import read_json
from reidhub.zoo.checkpoint import Checkpoint

INDEX = "index.json"
SUMS = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One file of a mirror, as the mirror's ``index.json`` describes it.

    Args:
        name: name of the checkpoint.
        file: file name in the folder.
        sha256: sha256 of the file.
        size: bytes of the file.
        checked_by: how the file was checked: ``sha256``, ``mega-mac`` (the checksum in its Mega link), or ``nothing``.
        source: URL in the manifest from which the file was downloaded; None if unknown.
        licence: licence and terms of use of the weights.
        notices: notes that every user should read.

    Raises:
        ValueError: ``file`` is not a plain file name, or ``sha256`` is not 64 lower-case hex digits.
    """

    name: str
    file: str
    sha256: str
    size: int
    checked_by: str
    source: str | None
    licence: str
    notices: tuple[str, ...]

    def __post_init__(self) -> None:
        Digest(self.sha256)
        if Path(self.file).name != self.file or self.file in ("", "..") or not self.file.isprintable():
            raise ValueError(f"not a plain file name: {self.file!r}")


@dataclass(frozen=True, slots=True)
class _Index:
    """The content of a mirror's ``index.json``."""

    files: tuple[IndexEntry, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of `Mirror.add` for one checkpoint: the file's ``entry`` in the index, or an ``error`` message.

    Args:
        checkpoint: the checkpoint.
        state: ``intact`` if the folder had the file already, ``written`` if it was copied now, ``failed`` otherwise.
        entry: the file's entry in the index; None if ``failed``.
        error: the reason for the failure; None if not ``failed``.
    """

    checkpoint: Checkpoint
    state: Literal["intact", "written", "failed"]
    entry: IndexEntry | None = None
    error: str | None = None


class Mirror:
    """Copies checkpoint files into a folder during a ``with`` block, and writes the index at the end of the block.

    Other files in the folder are kept.

    Args:
        folder: the mirror; created if missing.
        cache: the cache that files are copied from.
        fetcher: downloads files that are missing in ``cache``.

    Raises:
        CacheError: the folder cannot be written (at the start of the block), or the index cannot be written (at the
            end of the block).
    """

    def __init__(self, folder: Path, cache: Cache, fetcher: Fetcher | None = None) -> None:
        self._folder = folder
        self._cache = cache
        self._fetcher = fetcher or Fetcher(cache)
        self._listed: dict[str, IndexEntry] = {}
        self._outcomes: list[Outcome] = []

    def __enter__(self) -> Self:
        with _explain_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self._folder)
            self._listed = {entry.name: entry for entry in read_index(self._folder)}
        return self

    def __exit__(self, *error: object) -> None:
        with _explain_errors(self._folder):
            _write_index(self._folder, list(self._outcomes))

    def add(self, checkpoint: Checkpoint) -> Outcome:
        """Copy a checkpoint's file into the folder, unless the folder has an intact copy; many threads may call this.

        If the file cannot be fetched or copied, no error is raised; the outcome has the state ``failed``.

        Raises:
            UsageError: ``$REIDHUB_MIRROR``, another mirror to fetch from, is neither a folder nor a web address.
            CancelledError: the stop event of the fetcher was set.
        """
        outcome = self._add(checkpoint, self._folder / checkpoint.file_name)
        self._outcomes.append(outcome)
        return outcome

    def _add(self, checkpoint: Checkpoint, path: Path) -> Outcome:
        listed = self._listed.get(checkpoint.name)
        try:
            if digest := self._check_intact(path, checkpoint, listed):
                source = listed.source if listed and listed.sha256 == digest.hex else None
                source = source or self._find_source(checkpoint, digest)
                return Outcome(checkpoint, "intact", _describe(checkpoint, path, digest, source))
            digest = _copy(self._fetcher.fetch(checkpoint), path)
            source = self._find_source(checkpoint, digest)
            return Outcome(checkpoint, "written", _describe(checkpoint, path, digest, source))
        except (UsageError, CancelledError):
            raise
        except ReidhubError as error:
            return Outcome(checkpoint, "failed", error=str(error))
        except OSError as error:
            return Outcome(checkpoint, "failed", error=f"cannot copy to {path}: {error.strerror}")

    def _check_intact(self, path: Path, checkpoint: Checkpoint, listed: IndexEntry | None) -> Digest | None:
        """Return the sha256 of the file at ``path``; None if the file is missing or is not the checkpoint's file.

        The file must pass the checks of the manifest: the size and the sha256. An unpinned file has no sha256 in the
        manifest. If the manifest has a Mega link for it, the MAC (the checksum in the link) is checked instead.

        An unpinned file must also have the sha256 that an earlier run stored, in the cache or else in ``listed``. If no
        sha256 is stored, the check of the MAC is enough; if there is no MAC either, the result is None.

        Args:
            path: the file in the mirror.
            checkpoint: the checkpoint that the file should belong to.
            listed: the checkpoint's entry in the mirror's index; None if there is none.
        """
        artifact = checkpoint.artifact
        try:
            digest = check_file(path, artifact)
        except (OSError, IntegrityError):
            return None
        remembered = self._cache.read_pin(artifact) or (Digest(listed.sha256) if listed else None)
        if artifact.pinned or digest == remembered:
            return digest
        return digest if remembered is None and artifact.checked_by == "mega-mac" else None

    def _find_source(self, checkpoint: Checkpoint, digest: Digest) -> str | None:
        """Return the URL that a file was downloaded from; None if it is unknown, local or not in the manifest."""
        stored = self._cache.read_entry(digest)
        public = {source.location for source in checkpoint.artifact.sources if source.kind != "local"}
        return stored.source if stored and stored.source in public else None


def _explain_errors(folder: Path) -> AbstractContextManager[None]:
    """Turn an OSError in the ``with`` block into a DiskFullError if the disk is full, else into a CacheError."""
    return explain_write_errors(f"write the mirror {folder}")


def read_index(folder: Path) -> list[IndexEntry]:
    """Read the entries in the index of a mirror; return an empty list if the index is missing or malformed."""
    index = read_json(_Index, folder / INDEX)
    return list(index.files) if index else []


def _copy(source: Path, target: Path) -> Digest:
    """Copy a file of the cache to ``target``, check its sha256 at the same time, and return the sha256.

    Args:
        source: the file in the cache. Its file name is its sha256 with the suffix ``.pth``.
        target: path of the copy.

    Raises:
        IntegrityError: the sha256 of the file is not the one in its file name.
        OSError: the file cannot be read, or the copy cannot be written.
    """
    state = hashlib.sha256()
    with source.open("rb") as original, write_atomically(target) as copy:
        while block := original.read(BLOCK):
            state.update(block)
            copy.write(block)
        if state.hexdigest() != source.stem:
            raise IntegrityError(f"the cache's file {source} is broken", hint="`reidhub cache check --remove`")
    return Digest(state.hexdigest())


def _describe(checkpoint: Checkpoint, path: Path, digest: Digest, source: str | None) -> IndexEntry:
    return IndexEntry(
        name=checkpoint.name,
        file=path.name,
        sha256=digest.hex,
        size=path.stat().st_size,
        checked_by=checkpoint.artifact.checked_by,
        source=source,
        licence=checkpoint.licence,
        notices=checkpoint.notices,
    )


def _write_index(folder: Path, outcomes: list[Outcome]) -> None:
    """Write the index: the files of this run and the files of earlier runs that still exist, sorted by name."""
    names = {outcome.checkpoint.name for outcome in outcomes}
    earlier = [entry for entry in read_index(folder) if entry.name not in names and _is_there(folder, entry)]
    now = [outcome.entry for outcome in outcomes if outcome.entry]
    entries = sorted([*earlier, *now], key=lambda entry: entry.name)
    _write_if_changed(folder / SUMS, "".join(f"{entry.sha256}  {entry.file}\n" for entry in entries))
    _write_if_changed(folder / INDEX, json.dumps({"files": [asdict(entry) for entry in entries]}, indent=1) + "\n")


def _is_there(folder: Path, entry: IndexEntry) -> bool:
    try:
        return (folder / entry.file).stat().st_size == entry.size
    except OSError:
        return False


def _write_if_changed(path: Path, text: str) -> None:
    with suppress(OSError), open_regular_file(path) as file:
        if file.read() == text.encode():
            return
    write_text(path, text)
