"""Read files from their sources; there is one module for each kind of source.

A source module gets only the location (URL or path) of a file; it uses neither checkpoints nor the cache. No file name
or path is taken from a server's answer. The bytes that a server sends are not trusted, but checked by
`reidhub.download.transfer`. Every failure of a source is a `SourceError`, so that the next source can be asked.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from reidhub.download.sources.patience import PATIENCE, Patience
from reidhub.errors import ReidhubError, SourceError, UsageError
from reidhub.zoo.artifact import Source

SOURCES = {
    "mega": "reidhub.download.sources.mega",
    "gdrive": "reidhub.download.sources.gdrive",
    "https": "reidhub.download.sources.https",
    "local": "reidhub.download.sources.local",
    "http": "reidhub.download.sources.http_mirror",
}
"""Source kind -> name of its module, a `SourceModule`. The kind ``http`` is not allowed in manifests."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A source that has been opened, and the bytes that it sends.

    Args:
        chunks: the bytes of the file from ``offset`` on. Iterating raises `SourceError` if the source stops too early.
        size: bytes of the whole file; None if unknown.
        offset: position of the first chunk in the file, in bytes. It is 0 if the source sends the whole file. If the
            source continues an interrupted download, it is at most `Resume.offset`.
        state: data that the source needs to continue this download in a later run, such as the file's size, as JSON
            values; empty if the source cannot resume.
    """

    chunks: Iterator[bytes]
    size: int | None = None
    offset: int = 0
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resume:
    """A request to continue an interrupted download.

    Args:
        offset: number of bytes that were received before the interruption.
        state: the `Stream.state` of the interrupted download.
    """

    offset: int
    state: dict[str, Any]


class SourceModule(Protocol):
    """The functions that each source module defines."""

    def open_stream(
        self, location: str, *, resume: Resume | None = None, patience: Patience = PATIENCE
    ) -> AbstractContextManager[Stream]:
        """Open the file at a location and yield its `Stream`. A source that cannot resume starts at offset 0.

        A request that fails temporarily is repeated, within the limits of ``patience``. If the connection breaks after
        some chunks, a source that can resume opens a new connection, within the same limits.

        Raises:
            SourceError: the source does not give the file; raised at the start of the ``with`` block.
        """

    def probe(self, location: str, *, patience: Patience = PATIENCE) -> int | None:
        """Ask whether the source would send its file; see `reidhub.download.sources.probe`."""


def open_stream(
    source: Source, *, resume: Resume | None = None, patience: Patience = PATIENCE
) -> AbstractContextManager[Stream]:
    """Open a source of any kind and yield its `Stream`; see `SourceModule.open_stream`.

    Raises:
        UsageError: the kind of the source is unknown.
    """
    return _open_guarded(_find_module(source.kind), source.location, resume, patience)


@contextmanager
def _open_guarded(module: SourceModule, location: str, resume: Resume | None, patience: Patience) -> Iterator[Stream]:
    with ExitStack() as connection:
        with _explain_failures():
            stream = connection.enter_context(module.open_stream(location, resume=resume, patience=patience))
        yield replace(stream, chunks=_read_guarded(stream.chunks))


def _read_guarded(chunks: Iterator[bytes]) -> Iterator[bytes]:
    with _explain_failures():
        yield from chunks


@contextmanager
def _explain_failures() -> Iterator[None]:
    """Turn an exception that no source raises on purpose into a `SourceError`.

    A host's strange answer must not stop the whole run. The message names the type of the exception and its place in
    the code. It does not quote the exception, because some exceptions contain the password of a proxy.
    """
    try:
        yield
    except ReidhubError:
        raise
    except Exception as error:
        place = extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
        raise SourceError(f"it failed in an unexpected way ({where})") from None


def probe(source: Source, *, patience: Patience = PATIENCE) -> int | None:
    """Ask a source whether it would send its file, and return the size of the file.

    At most the first bytes of the file are read, to detect a web page that comes instead of the file.

    Returns:
        Size of the file in bytes; None if unknown.

    Raises:
        UsageError: the kind of the source is unknown.
        SourceError: the source does not give the file; ``permanent`` and ``retry_after_s`` are set if known.
        IntegrityError: the source sends a web page or an empty file instead of the checkpoint's file.
    """
    module = _find_module(source.kind)
    with _explain_failures():
        return module.probe(source.location, patience=patience)


def _find_module(kind: str) -> SourceModule:
    if kind not in SOURCES:
        raise UsageError(f"unknown source kind {kind!r}; known are {', '.join(SOURCES)}")
    return cast(SourceModule, import_module(SOURCES[kind]))


def name_host(source: Source) -> str:
    """Return a name for the host of a source: ``mega``, ``gdrive``, or kind and host such as ``https example.org``."""
    return source.kind if source.kind in ("mega", "gdrive") else f"{source.kind} {urlsplit(source.location).netloc}"
