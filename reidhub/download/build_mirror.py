"""A folder that any static web server or shared disk can serve, and that `$REIDHUB_MIRROR` can name.

Each file lies directly in it as `Checkpoint.file_name`; ``index.json`` and ``SHA256SUMS`` list those that are intact.
A file appears whole under its name or not at all, and one that is intact is left as it is.
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
from reidhub.zoo.checkpoint import Checkpoint

INDEX = "index.json"
SUMS = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class Copy:
    """A file of the mirror, as its index tells it.

    Args:
        name: the checkpoint's.
        file: its name in the folder.
        sha256: of its bytes.
        size: bytes.
        checked_by: what the bytes were held to: ``sha256``, ``mega-mac``, or ``nothing`` (unpinned).
        source: location in the manifest it was downloaded from; None where that is not known.
        licence: licence and terms of use of the weights.
        notices: what every user has to be told.

    Raises:
        ValueError: ``file`` is no plain name, or ``sha256`` no digest.
    """

    name: str
    file: str
    sha256: str
    size: int
    checked_by: str
    source: str | None
    licence: str
    notices: list[str]

    def __post_init__(self) -> None:
        Digest(self.sha256)
        if Path(self.file).name != self.file:
            raise ValueError(f"not a plain file name: {self.file!r}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went with one checkpoint: the ``copy`` that is there now, or the ``error``."""

    checkpoint: Checkpoint
    state: Literal["intact", "written", "failed"]
    copy: Copy | None = None
    error: str | None = None


class Mirror:
    """The folder while it is filled; leaving the ``with`` block brings its index up to date. Other files in it stay.

    Args:
        folder: made where it is missing.
        cache: where the files come from.
        fetcher: downloads into ``cache`` what neither has; one of its own where None.

    Raises:
        CacheError: on entering or leaving: the folder or its index cannot be written.
    """

    def __init__(self, folder: Path, cache: Cache, fetcher: Fetcher | None = None) -> None:
        self._folder = folder
        self._cache = cache
        self._fetcher = fetcher or Fetcher(cache)
        self._recorded: dict[str, Copy] = {}
        self._outcomes: list[Outcome] = []

    def __enter__(self) -> Self:
        with _explain_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self._folder)
            self._recorded = {copy.name: copy for copy in read_index(self._folder)}
        return self

    def __exit__(self, *error: object) -> None:
        with _explain_errors(self._folder):
            _write_index(self._folder, list(self._outcomes))

    def bring(self, checkpoint: Checkpoint) -> Outcome:
        """Bring one file in, or see that it is there; may be called from many threads.

        Raises:
            UsageError: ``$REIDHUB_MIRROR`` names no mirror.
            CancelledError: the stop event of the fetcher was set.
        """
        outcome = self._brought(checkpoint, self._folder / checkpoint.file_name)
        self._outcomes.append(outcome)
        return outcome

    def _brought(self, checkpoint: Checkpoint, path: Path) -> Outcome:
        recorded = self._recorded.get(checkpoint.name)
        try:
            if digest := _intact(path, checkpoint, self._cache, recorded):
                listed = recorded.source if recorded and recorded.sha256 == digest.hex else None
                source = listed or self._source(checkpoint, digest)
                return Outcome(checkpoint, "intact", _copy(checkpoint, path, digest, source))
            digest = _written(self._fetcher.fetch(checkpoint), path)
            return Outcome(checkpoint, "written", _copy(checkpoint, path, digest, self._source(checkpoint, digest)))
        except (UsageError, CancelledError):
            raise
        except ReidhubError as error:
            return Outcome(checkpoint, "failed", error=str(error))
        except OSError as error:
            return Outcome(checkpoint, "failed", error=f"cannot copy to {path}: {error.strerror}")

    def _source(self, checkpoint: Checkpoint, digest: Digest) -> str | None:
        """Where a file came from, if that may be told to everybody: a public location of the manifest, no path."""
        entry = self._cache.read_entry(digest)
        public = {source.location for source in checkpoint.artifact.sources if source.kind != "local"}
        return entry.source if entry and entry.source in public else None


def _explain_errors(folder: Path) -> AbstractContextManager[None]:
    """Replace an OSError of the block by a CacheError."""
    return explain_write_errors(f"write the mirror {folder}")


def read_index(folder: Path) -> list[Copy]:
    """What the index of a mirror lists; nothing where there is none that can be read."""
    try:
        return [Copy(**entry) for entry in json.loads((folder / INDEX).read_text(encoding="utf-8"))["files"]]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _intact(path: Path, checkpoint: Checkpoint, cache: Cache, recorded: Copy | None) -> Digest | None:
    """The digest of the file that lies there, where it is the checkpoint's; an unpinned one is held to its memory."""
    artifact = checkpoint.artifact
    try:
        digest = check_file(path, artifact)
    except (OSError, IntegrityError):
        return None
    remembered = cache.read_pin(artifact) or (Digest(recorded.sha256) if recorded else None)
    if artifact.pinned or digest == remembered:
        return digest
    return digest if remembered is None and artifact.checked_by == "mega-mac" else None


def _written(source: Path, target: Path) -> Digest:
    """Copy a file of the cache; its bytes are hashed on the way, so that a broken one does not get far.

    Raises:
        IntegrityError: it does not have the digest that it is named for.
        OSError: it cannot be read, or the copy not written.
    """
    state = hashlib.sha256()
    with source.open("rb") as original, write_atomically(target) as copy:
        while block := original.read(BLOCK):
            state.update(block)
            copy.write(block)
        if state.hexdigest() != source.stem:
            raise IntegrityError(f"the cache's file {source} is broken", hint="`reidhub cache check --remove`")
    return Digest(state.hexdigest())


def _copy(checkpoint: Checkpoint, path: Path, digest: Digest, source: str | None) -> Copy:
    return Copy(
        name=checkpoint.name,
        file=path.name,
        sha256=digest.hex,
        size=path.stat().st_size,
        checked_by=checkpoint.artifact.checked_by,
        source=source,
        licence=checkpoint.licence,
        notices=list(checkpoint.notices),
    )


def _write_index(folder: Path, outcomes: list[Outcome]) -> None:
    """The files of this run, and those of earlier ones that are still there, by name."""
    asked = {outcome.checkpoint.name for outcome in outcomes}
    earlier = [copy for copy in read_index(folder) if copy.name not in asked and _is_there(folder, copy)]
    copies = sorted([*earlier, *(o.copy for o in outcomes if o.copy)], key=lambda copy: copy.name)
    _replace(folder / SUMS, "".join(f"{copy.sha256}  {copy.file}\n" for copy in copies))
    _replace(folder / INDEX, json.dumps({"files": [asdict(copy) for copy in copies]}, indent=1) + "\n")


def _is_there(folder: Path, copy: Copy) -> bool:
    try:
        return (folder / copy.file).stat().st_size == copy.size
    except OSError:
        return False


def _replace(path: Path, text: str) -> None:
    """Write a text unless it stands there already."""
    with suppress(OSError, ValueError):
        if path.read_text(encoding="utf-8") == text:
            return
    write_text(path, text)
