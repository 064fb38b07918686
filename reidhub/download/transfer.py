"""Bring the file of one checkpoint from one source into the cache.

All bytes are checked here and in the store, whichever source sends them: first that they do not begin with a page, then
their size, their MAC and their sha256. If a source stops in the middle, the bytes so far stay for the next run.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reidhub.cache.partial_file import IncomingFile, PartialFile
from reidhub.cache.store import Cache
from reidhub.download.sources import Resume, Stream, open_stream
from reidhub.download.sources.patience import Patience
from reidhub.errors import CancelledError, IntegrityError, SourceError
from reidhub.files.sniff import refuse_pages
from reidhub.zoo.checkpoint import Checkpoint, Source

if TYPE_CHECKING:
    from reidhub.files.mega_mac import ContentMac

LARGEST = 2 << 30  # bytes; ten times the largest file of the zoo: an endless body of unknown size ends here
_NOTE_STEP = 512 * 1024  # bytes between two notes; a killed process loses at most these and one more block

OpenLine = Callable[[int | None, int], AbstractContextManager[Callable[[int], None]]]
"""Opens a progress line. It takes the size of the file (bytes, None if unknown) and the bytes that are there already,
and gives a function that takes the bytes in each chunk."""

_log = logging.getLogger(__name__)


class Transfer:
    """One file from one source.

    Args:
        checkpoint: whose file it is.
        source: where the bytes come from.
        cache: where they go.
        patience: limits on the source.
        open_line: shows the progress.
    """

    def __init__(
        self, checkpoint: Checkpoint, source: Source, cache: Cache, patience: Patience, open_line: OpenLine
    ) -> None:
        self._checkpoint = checkpoint
        self._artifact = checkpoint.artifact
        self._source = source
        self._cache = cache
        self._patience = patience
        self._open_line = open_line

    def run(self) -> Path:
        """Bring the file and return its path in the cache; resume an interrupted run if the source can do that.

        Raises:
            SourceError: the source does not give the file, or not now; the bytes so far stay for the next run.
            IntegrityError: the source gives another file; nothing of it stays.
            CancelledError: the stop event was set; the bytes so far stay for the next run.
            CacheError: the cache folder cannot be written.
        """
        if partial := self._cache.find_partial(self._artifact, self._source):
            try:
                return self._receive(partial)
            except IntegrityError as error:
                _log.info("%s: %s; starting over", self._checkpoint.name, error.message)
        return self._receive(None)

    def _receive(self, partial: PartialFile | None) -> Path:
        name, known = self._checkpoint.name, self._artifact
        with self._cache.open_incoming(known, self._source, name=name) as incoming:
            resume = Resume(partial.offset, partial.state) if partial and incoming.resume_from(partial) else None
            try:
                with open_stream(self._source, resume=resume, patience=self._patience) as stream:
                    self._copy(stream, incoming, partial)
                source = self._source.location
                path = self._cache.keep(incoming, known, name=name, source=source, checked_by=known.checked_by)
            except IntegrityError:
                incoming.discard()
                raise
        self._compare_prefix(path)
        return path

    def _copy(self, stream: Stream, incoming: IncomingFile, partial: PartialFile | None) -> None:
        """Write the bytes that the stream adds to those of the earlier run, and check them all."""
        chunks = stream.chunks if stream.offset else refuse_pages(stream.chunks)
        size = self._agree_on_size(stream.size)
        incoming.truncate(stream.offset)
        self._cache.check_room((size or 0) - incoming.size)
        mac = self._start_mac(incoming)
        if partial:
            _note(stream, incoming)
            partial.remove_if_unchanged()
        with self._open_line(size, incoming.size) as advance, _note_at_stop(stream, incoming):
            noted = incoming.size
            for chunk in chunks:
                if self._patience.stop.is_set():
                    raise CancelledError("the download was stopped")
                incoming.write(chunk)
                _check_not_over(incoming.size, size)
                if mac:
                    mac.update(chunk)
                advance(len(chunk))
                if incoming.size - noted >= _NOTE_STEP:
                    _note(stream, incoming)
                    noted = incoming.size
        if size is not None and incoming.size != size:
            raise IntegrityError(f"expected {size} bytes, got {incoming.size}")
        if mac:
            mac.check()

    def _agree_on_size(self, offered: int | None) -> int | None:
        """Return the size that the manifest gives, else the one that the host offers; bytes."""
        known = self._artifact.size
        if None not in (known, offered) and known != offered:
            raise IntegrityError(f"expected {known} bytes, the host offers {offered}")
        return offered if known is None else known

    def _start_mac(self, incoming: IncomingFile) -> "ContentMac | None":
        """Start the MAC of a Mega link over the bytes that are there; None where no link is known, or none is needed.

        A file from Mega is checked with the link it comes from; a file from elsewhere only if its sha256 is not known.
        """
        link = None if self._artifact.pinned else self._artifact.mega_link
        if self._source.kind == "mega":
            link = self._source.location
        if link is None:
            return None
        from reidhub.files.mega_mac import ContentMac  # needs cryptography, and most files of other sources do not

        mac = ContentMac(link)
        for block in incoming.read_blocks():
            mac.update(block)
        return mac

    def _compare_prefix(self, path: Path) -> None:
        prefix = self._artifact.sha256_prefix
        if prefix and not path.stem.startswith(prefix):
            _log.warning(
                "%s: its sha256 begins with %s, not %s as its author's file name says; that may be older than the file",
                self._checkpoint.name,
                path.stem[: len(prefix)],
                prefix,
            )


def _note(stream: Stream, incoming: IncomingFile) -> None:
    """Note that a later run can resume behind the bytes written so far, if the source can do that."""
    if stream.state:
        incoming.note(stream.state)


@contextmanager
def _note_at_stop(stream: Stream, incoming: IncomingFile) -> Iterator[None]:
    """Note the position where a source or the user stops the download; not where the bytes are wrong."""
    try:
        yield
    except IntegrityError:
        raise
    except (SourceError, CancelledError):
        _note(stream, incoming)
        raise


def _check_not_over(written: int, size: int | None) -> None:
    limit = LARGEST if size is None else size
    if written > limit:
        raise IntegrityError(f"expected {'at most ' if size is None else ''}{limit} bytes, and more keep coming")
