"""One source's bytes on their way into the cache: counted, hashed, held to a MAC, kept for later where they stop.

Bytes are held to the sha256; where none is known, to the MAC in the entry's Mega link, whichever source they come from.
"""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reidhub.cache.partial_file import IncomingFile, PartialFile
from reidhub.cache.store import Cache
from reidhub.download.progress import Progress
from reidhub.download.sources import Resume, Stream, open_stream
from reidhub.download.sources.patience import Patience
from reidhub.errors import CancelledError, IntegrityError, SourceError
from reidhub.zoo.checkpoint import Artifact, Checkpoint, Source

LARGEST = 2 << 30  # bytes; ten times the largest file of the zoo: an endless body of unknown size ends here
_STEP = 768 * 1024  # bytes between two notes of where to go on; a process that is killed loses no more

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """How files are fetched.

    Args:
        kind: of the only sources to ask; None for all.
        fresh: nothing that an earlier run left is gone on with.
        offline: no socket is opened.
        patience: with each source; its stop event ends everything.
    """

    kind: str | None = None
    fresh: bool = False
    offline: bool = False
    patience: Patience = field(default_factory=Patience)

    @property
    def stop(self) -> threading.Event:
        """Ends everything when it is set."""
        return self.patience.stop


@dataclass(frozen=True, slots=True)
class Order:
    """One file from one source, which messages call ``label``."""

    checkpoint: Checkpoint
    source: Source
    label: str

    @property
    def artifact(self) -> Artifact:
        """The file."""
        return self.checkpoint.artifact


class Receiver:
    """Receives files into one cache."""

    def __init__(self, cache: Cache, terms: Terms, progress: Progress) -> None:
        self._cache = cache
        self._terms = terms
        self._progress = progress

    def receive(self, order: Order) -> Path:
        """The file under its final name; it goes on with what an earlier run left of it, where the source allows that.

        Raises:
            SourceError: the source does not give it, or not now; what came is kept where it can be gone on with.
            IntegrityError: the source gives another file; nothing of that is kept.
            CacheError: the cache folder does not take it.
        """
        partial = None if self._terms.fresh else self._cache.find_partial(order.artifact, order.source)
        if partial is None:
            return self._received(order, None)
        try:
            return self._received(order, partial)
        except IntegrityError as error:
            _log.info("%s: %s; starting over", order.checkpoint.name, error.message)
            return self._received(order, None)

    def _received(self, order: Order, partial: PartialFile | None) -> Path:
        artifact, name = order.artifact, order.checkpoint.name
        with self._cache.open_incoming(artifact, order.source, name=name) as incoming:
            resume = Resume(partial.offset, partial.state) if partial and incoming.resume_from(partial) else None
            try:
                with open_stream(order.source, resume=resume, patience=self._terms.patience) as stream:
                    self._take(order, stream, incoming, partial)
                path = self._cache.keep(
                    incoming, artifact, name=name, source=order.source.location, checked_by=artifact.held_to
                )
            except IntegrityError:
                incoming.discard()
                raise
        _compare_prefix(order.checkpoint, path)
        return path

    def _take(self, order: Order, stream: Stream, incoming: IncomingFile, partial: PartialFile | None) -> None:
        size = _agreed_size(order.artifact, stream)
        incoming.truncate(stream.offset)
        self._cache.check_room((size or 0) - incoming.size)
        notes = _Notes(stream, incoming)
        if partial:
            notes.take()
            partial.remove_if_unchanged()
        with self._progress.line(order.checkpoint, order.label, size, incoming.size) as advance:
            for chunk in notes.taken(_checked(stream.chunks, incoming, order)):
                if self._terms.stop.is_set():
                    raise CancelledError(f"the download of {order.checkpoint.name} was stopped")
                incoming.write(chunk)
                _check_not_over(incoming, size)
                advance(len(chunk))
        if size is not None and incoming.size != size:
            raise IntegrityError(f"expected {size} bytes, got {incoming.size}")


class _Notes:
    """Where to go on later: noted whenever the source's state changes, every `_STEP`, and where the bytes stop."""

    def __init__(self, stream: Stream, incoming: IncomingFile) -> None:
        self._stream = stream
        self._incoming = incoming
        self._state: dict[str, Any] = {}
        self._size = incoming.size

    def take(self) -> None:
        state = self._stream.state()
        if state:
            self._incoming.note(state)
        self._state, self._size = state, self._incoming.size

    def taken(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks; a note is due once a chunk has been written."""
        try:
            for chunk in chunks:
                yield chunk
                if self._incoming.size - self._size >= _STEP or self._stream.state() != self._state:
                    self.take()
        except IntegrityError:
            raise
        except SourceError:
            self.take()
            raise


def _compare_prefix(checkpoint: Checkpoint, path: Path) -> None:
    prefix = checkpoint.artifact.sha256_prefix
    if prefix and not path.stem.startswith(prefix):
        _log.warning(
            "%s: its sha256 begins with %s, not %s as its author's file name says; that may be older than the file",
            checkpoint.name,
            path.stem[: len(prefix)],
            prefix,
        )


def _agreed_size(artifact: Artifact, stream: Stream) -> int | None:
    if artifact.size is not None and stream.size not in (None, artifact.size):
        raise IntegrityError(f"expected {artifact.size} bytes, the host offers {stream.size}")
    return artifact.size if artifact.size is not None else stream.size


def _check_not_over(incoming: IncomingFile, size: int | None) -> None:
    limit = LARGEST if size is None else size
    if incoming.size > limit:
        raise IntegrityError(f"expected {'at most ' if size is None else ''}{limit} bytes, and more keep coming")


def _checked(chunks: Iterator[bytes], incoming: IncomingFile, order: Order) -> Iterator[bytes]:
    """The same chunks; at their end the whole content is held to the link's MAC where nothing else is known of it."""
    link = order.artifact.mega_link
    if order.artifact.pinned or link is None or order.source.kind == "mega":  # Mega's own stream checks its MAC
        yield from chunks
        return
    from reidhub.files.mega_mac import ContentMac  # the only place that needs cryptography for other sources

    mac = ContentMac(link)
    for block in incoming.read_blocks():
        mac.update(block)
    for chunk in chunks:
        mac.update(chunk)
        yield chunk
    mac.check()
