"""Where bytes come from: a location becomes a stream of bytes and a claim about them.

A source never sees a checkpoint or the cache, and nothing a server says ever becomes a file name or a path.
What it yields is not trusted: whoever stores the bytes holds them to size and digest.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import urlsplit

from reidhub.download.sources.patience import PATIENCE, Patience
from reidhub.errors import UsageError
from reidhub.zoo.checkpoint import Source

SOURCES = {
    "mega": "reidhub.download.sources.mega:open_stream",
    "gdrive": "reidhub.download.sources.gdrive:open_stream",
    "https": "reidhub.download.sources.https:open_stream",
    "local": "reidhub.download.sources.local:open_stream",
    "http": "reidhub.download.sources.http_mirror:open_stream",
}
"""Source kind -> ``module:callable``; the callable is an `Opener`. A manifest cannot name ``http``."""


@dataclass(slots=True)
class Stream:
    """An open source.

    Args:
        chunks: the bytes from ``offset`` on. Raises `SourceError` where they stop coming, and `IntegrityError`
            at the end where the source's own check (Mega's MAC) fails.
        size: bytes of the whole file as the source claims, or None.
        offset: where the first chunk starts in the file: 0, or where a resume was granted, which may lie before what
            was asked for. Whoever resumes cuts the held bytes back to ``offset``.
        state: called between chunks; what `Resume.state` needs to go on behind the bytes yielded so far (JSON);
            empty where the source cannot go on.
    """

    chunks: Iterator[bytes]
    size: int | None = None
    offset: int = 0
    state: Callable[[], dict[str, Any]] = field(default=dict)


@dataclass(frozen=True, slots=True)
class Resume:
    """A wish to go on behind ``offset`` bytes already held; ``state`` is what the stream said at that point."""

    offset: int
    state: dict[str, Any]


class Opener(Protocol):
    """Opens one location; a source that cannot resume starts at offset 0 again.

    Connections are made, and the first bytes looked at, when the context is entered. Failures that pass are tried
    again within ``patience``; a `SourceError` that comes out has had its second chances.
    """

    def __call__(
        self, location: str, *, resume: Resume | None = None, patience: Patience = PATIENCE
    ) -> AbstractContextManager[Stream]: ...


def open_stream(
    source: Source, *, resume: Resume | None = None, patience: Patience = PATIENCE
) -> AbstractContextManager[Stream]:
    """Open a source of any registered kind.

    Raises:
        UsageError: the kind is not registered.
        SourceError: on entering: the source does not answer; ``retry_after_s`` where it said when it will.
        IntegrityError: on entering: it answers with a page or an empty body instead of a checkpoint file.
    """
    if source.kind not in SOURCES:
        raise UsageError(f"unknown source kind {source.kind!r}; known are {', '.join(SOURCES)}")
    module, _, name = SOURCES[source.kind].partition(":")
    opener: Opener = getattr(import_module(module), name)
    return opener(source.location, resume=resume, patience=patience)


def name_host(source: Source) -> str:
    """Name the host that a source asks; all links to Mega name one host, and all links to Google Drive another one."""
    return source.kind if source.kind in ("mega", "gdrive") else f"{source.kind} {urlsplit(source.location).netloc}"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a source says of a file it was not asked to send.

    Args:
        size: bytes, or None where the source does not tell.
    """

    size: int | None


class Prober(Protocol):
    """Asks one location whether it would give a file; ``probe`` in the module of its `Opener`.

    At most the first bytes are read, to tell a page from a file. Fails as the opener does.
    """

    def __call__(self, location: str, *, patience: Patience = PATIENCE) -> Claim: ...


def probe(source: Source, *, patience: Patience = PATIENCE) -> Claim:
    """Ask a source of any registered kind whether it has its file, without fetching it.

    Raises:
        UsageError: the kind is not registered.
        SourceError: the source does not give the file; ``permanent`` and ``retry_after_s`` as far as it says.
        IntegrityError: it would give a page or nothing instead.
    """
    if source.kind not in SOURCES:
        raise UsageError(f"unknown source kind {source.kind!r}; known are {', '.join(SOURCES)}")
    prober: Prober = import_module(SOURCES[source.kind].partition(":")[0]).probe
    return prober(source.location, patience=patience)
