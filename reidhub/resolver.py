"""From an artifact to a file: the cache, else each source in the manifest's order.

Bytes are held to the sha256; where none is known, to the MAC in the entry's Mega link, whichever source they come from.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from reidhub.cache import Cache, Incoming
from reidhub.checkpoint import Artifact, Checkpoint, Source
from reidhub.errors import FetchError, IntegrityError, SourceError
from reidhub.sources import Stream, open_stream

LARGEST = 2 << 30  # bytes; ten times the largest file of the zoo: an endless body of unknown size ends here

_log = logging.getLogger(__name__)


def fetch(checkpoint: Checkpoint, cache: Cache) -> Path:
    """The file of a checkpoint, from the cache or from the first source that gives it intact.

    Raises:
        FetchError: no source did; each one is named with its reason.
        CacheError: the cache folder cannot be written.
    """
    if path := cache.find(checkpoint.artifact):
        return path
    reasons: list[tuple[Source, SourceError]] = []
    for source in checkpoint.artifact.sources:
        try:
            return _receive(checkpoint, source, cache)
        except SourceError as error:
            _log.info("%s: %s: %s", checkpoint.name, source.kind, error.message)
            reasons.append((source, error))
    raise _all_failed(checkpoint, reasons)


def _receive(checkpoint: Checkpoint, source: Source, cache: Cache) -> Path:
    artifact = checkpoint.artifact
    with open_stream(source) as stream, cache.incoming() as incoming:
        size = _agreed_size(artifact, stream)
        with _progress_bar(checkpoint, source, size) as bar:
            for chunk in _checked(stream.chunks, artifact, source):
                incoming.write(chunk)
                _check_not_over(incoming, size)
                bar.update(len(chunk))
        if size is not None and incoming.size != size:
            raise IntegrityError(f"expected {size} bytes, got {incoming.size}")
        return cache.keep(incoming, artifact, name=checkpoint.name, source=source.location, checked_by=artifact.held_to)


def _progress_bar(checkpoint: Checkpoint, source: Source, size: int | None) -> "tqdm[NoReturn]":
    """On stderr, and only where that is a terminal."""
    return tqdm(
        total=size, desc=f"{checkpoint.name} from {source.kind}", unit="B", unit_scale=True, disable=None, leave=False
    )


def _agreed_size(artifact: Artifact, stream: Stream) -> int | None:
    if artifact.size is not None and stream.size not in (None, artifact.size):
        raise IntegrityError(f"expected {artifact.size} bytes, the host offers {stream.size}")
    return artifact.size if artifact.size is not None else stream.size


def _check_not_over(incoming: Incoming, size: int | None) -> None:
    limit = LARGEST if size is None else size
    if incoming.size > limit:
        raise IntegrityError(f"expected {'at most ' if size is None else ''}{limit} bytes, and more keep coming")


def _checked(chunks: Iterator[bytes], artifact: Artifact, source: Source) -> Iterator[bytes]:
    """The same chunks; at their end the content is held to the link's MAC where nothing else is known of it."""
    link = artifact.mega_link
    if artifact.digest is not None or link is None or source.kind == "mega":  # Mega's own stream checks its MAC
        yield from chunks
        return
    from reidhub.sources.mega import ContentMac  # the only place that needs cryptography for other sources

    mac = ContentMac(link)
    for chunk in chunks:
        mac.update(chunk)
        yield chunk
    mac.check()


def _all_failed(checkpoint: Checkpoint, reasons: list[tuple[Source, SourceError]]) -> FetchError:
    artifact = checkpoint.artifact
    known = f"sha256 {artifact.digest.short}..." if artifact.digest else "unpinned"
    count = "the only source did not give" if len(reasons) == 1 else f"none of {len(reasons)} sources gave"
    lines = [f"{count} {checkpoint.name} ({known})"]
    width = max(len(source.kind) for source, _ in reasons)
    lines += [f"  {source.kind:<{width}}  {_one_line(error)}" for source, error in reasons]
    return FetchError("\n".join(lines), hint=reasons[-1][1].hint or "try again later")


def _one_line(error: SourceError) -> str:
    return " ".join(error.message.split())
