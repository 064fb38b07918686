"""Download the file of one checkpoint from one source into the cache.

The bytes of every source are checked, here and in `reidhub.cache.store`: first that they are not a web page, then the
size, the MAC (the checksum in a Mega link) and the sha256.

If a download stops before the end and the source can resume, the received bytes are kept in the cache. A small file
beside them says how many bytes are valid, and the next run continues after these bytes.
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
from reidhub.errors import CancelledError, IntegrityError, SourceError, TakenOverError
from reidhub.files.sniff import refuse_pages
from reidhub.zoo.artifact import Source
from reidhub.zoo.checkpoint import Checkpoint

if TYPE_CHECKING:
    from reidhub.files.mega_mac import ContentMac

LARGEST = 2 << 30  # bytes; the limit for a file of unknown size is ten times the largest file of the zoo
_NOTE_STEP = 512 * 1024  # bytes between two notes for resuming; a killed process loses at most these and one block
_RESTARTS = 5  # after another process took over the download; each restart keeps the bytes of the other process

OpenLine = Callable[[int | None, int], AbstractContextManager[Callable[[int], None]]]
"""Function that opens a progress line. Its arguments are the size of the file (bytes, None if unknown) and the number
of bytes that an earlier run has received. Its ``with`` block yields a function that takes the length of each chunk."""

_log = logging.getLogger(__name__)


class Transfer:
    """The download of one file from one source.

    Args:
        checkpoint: the checkpoint that the file belongs to.
        source: the source that sends the file.
        cache: the cache that stores the file.
        patience: limits on the download.
        open_line: opens the progress line.
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
        """Download the file and return its path in the cache; continue an interrupted download if possible.

        If another process takes over this download, it has the file in the cache soon, or else this process takes over
        the bytes of the other process in turn.

        Raises:
            SourceError: the source does not give the file; if the source can resume, the received bytes are kept.
            IntegrityError: the source gives a file with wrong bytes; the received bytes are removed.
            CancelledError: the stop event was set; if the source can resume, the received bytes are kept.
            CacheError: the cache folder cannot be written.
        """
        for _ in range(_RESTARTS):
            try:
                return self._resume_or_start()
            except TakenOverError as error:
                _log.info("%s: %s", self._checkpoint.name, error.message)
            if path := self._cache.find(self._artifact):
                return path
        return self._resume_or_start()

    def _resume_or_start(self) -> Path:
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
        self._compare_expected_size(path)
        return path

    def _copy(self, stream: Stream, incoming: IncomingFile, partial: PartialFile | None) -> None:
        """Write the bytes of ``stream`` into ``incoming``, then check the size and the MAC of the whole file.

        Args:
            stream: the opened source.
            incoming: the file in the cache; it may already have bytes from an earlier run.
            partial: the partial download of the earlier run; None if there is none.
        """
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
        """Return the size of the file in bytes: from the manifest, else from the host (``offered``), else None.

        Raises:
            IntegrityError: both sizes are known and differ, or the host offers more than `LARGEST` bytes.
        """
        known = self._artifact.size
        if None not in (known, offered) and known != offered:
            raise IntegrityError(f"expected {known} bytes, the host offers {offered}")
        if known is None and (offered or 0) > LARGEST:
            raise IntegrityError(f"expected at most {LARGEST} bytes, the host offers {offered}")
        return offered if known is None else known

    def _start_mac(self, incoming: IncomingFile) -> "ContentMac | None":
        """Return a new `ContentMac` that has read the bytes from an earlier run; None if no MAC is checked.

        The MAC of a file is the checksum in its Mega link. It is always checked for a file from Mega. For a file from
        another source, it is checked if the manifest has a Mega link and no sha256 for the file.
        """
        link = None if self._artifact.pinned else self._artifact.mega_link
        if self._source.kind == "mega":
            link = self._source.location
        if link is None:
            return None
        from reidhub.files.mega_mac import ContentMac  # imports cryptography, which is rarely needed

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

    def _compare_expected_size(self, path: Path) -> None:
        """Log a warning if an unpinned file has none of the computed sizes. A sha256 is stronger than any size."""
        expected, size = self._artifact.expected_size, path.stat().st_size
        if expected and size not in expected and not self._artifact.pinned:
            _log.warning(
                "%s: it has %s bytes, not %s as computed from its format; the host may have sent another file",
                self._checkpoint.name,
                size,
                " or ".join(map(str, expected)),
            )


def _note(stream: Stream, incoming: IncomingFile) -> None:
    """Store in the cache how many bytes are written so far, so that a later run can continue after them.

    If the source cannot resume, nothing is stored.
    """
    if stream.state:
        incoming.note(stream.state)


@contextmanager
def _note_at_stop(stream: Stream, incoming: IncomingFile) -> Iterator[None]:
    """Call `_note` if the download in the ``with`` block stops early, so that a later run can continue.

    It stops early if the source fails (`SourceError`) or the user stops it (`CancelledError`). After an
    `IntegrityError`, `_note` is not called, because the received bytes are wrong. Each error is raised again.
    """
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
