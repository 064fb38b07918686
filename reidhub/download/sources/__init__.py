"""The places where bytes come from, one module for each kind.

A source knows a location, never a checkpoint or the cache. Nothing that a server says becomes a file name or a path.
Nothing that it sends is trusted: `reidhub.download.transfer` checks the bytes.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from reidhub.download.sources.patience import PATIENCE, Patience
from reidhub.errors import UsageError
from reidhub.zoo.checkpoint import Source

SOURCES = {
    "mega": "reidhub.download.sources.mega",
    "gdrive": "reidhub.download.sources.gdrive",
    "https": "reidhub.download.sources.https",
    "local": "reidhub.download.sources.local",
    "http": "reidhub.download.sources.http_mirror",
}
"""Source kind -> module, which is a `SourceModule`. A manifest cannot name ``http``."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An open source.

    Args:
        chunks: the bytes from ``offset`` on. Raises `SourceError` where they stop.
        size: bytes of the whole file, where the source tells.
        offset: where the first chunk starts in the file: 0, or where the source resumes, which may lie before the
            position that was asked for.
        state: what a later `Resume` needs, as JSON; empty where the source cannot resume.
    """

    chunks: Iterator[bytes]
    size: int | None = None
    offset: int = 0
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resume:
    """A wish to leave out the first ``offset`` bytes; ``state`` is that of the stream that sent them."""

    offset: int
    state: dict[str, Any]


class SourceModule(Protocol):
    """What the module of a source kind offers."""

    def open_stream(
        self, location: str, *, resume: Resume | None = None, patience: Patience = PATIENCE
    ) -> AbstractContextManager[Stream]:
        """Open a location. A source that cannot resume starts at offset 0.

        Failures that may pass are tried again within ``patience``, on entering and between the chunks.

        Raises:
            SourceError: on entering: the source does not answer; ``retry_after_s`` where it said when it will.
        """

    def probe(self, location: str, *, patience: Patience = PATIENCE) -> int | None:
        """Ask whether the source would send its file; see `reidhub.download.sources.probe`."""


def open_stream(
    source: Source, *, resume: Resume | None = None, patience: Patience = PATIENCE
) -> AbstractContextManager[Stream]:
    """Open a source of any kind; see `SourceModule.open_stream`.

    Raises:
        UsageError: there is no such kind.
    """
    return _find_module(source.kind).open_stream(source.location, resume=resume, patience=patience)


def probe(source: Source, *, patience: Patience = PATIENCE) -> int | None:
    """Ask a source whether it would send its file; at most the first bytes are read, to tell a page from a file.

    Returns:
        Bytes of the file, or None where the source does not tell.

    Raises:
        UsageError: there is no such kind.
        SourceError: the source does not give the file; ``permanent`` and ``retry_after_s`` as far as it says.
        IntegrityError: it would give a page or nothing instead.
    """
    return _find_module(source.kind).probe(source.location, patience=patience)


def _find_module(kind: str) -> SourceModule:
    if kind not in SOURCES:
        raise UsageError(f"unknown source kind {kind!r}; known are {', '.join(SOURCES)}")
    return cast(SourceModule, import_module(SOURCES[kind]))


def name_host(source: Source) -> str:
    """Name the host that a source asks; all links to Mega name one host, and all links to Google Drive another one."""
    return source.kind if source.kind in ("mega", "gdrive") else f"{source.kind} {urlsplit(source.location).netloc}"
