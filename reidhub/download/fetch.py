"""Find the file of a checkpoint: in the cache, else in the user's mirror, else at the sources in the manifest.

Sources are asked in the order of the manifest. A download uses four modules: this module chooses the source, a module
of `reidhub.download.sources` reads the bytes from it, `reidhub.download.transfer` checks the bytes, and
`reidhub.cache.store` stores the file.

If a host is down, it is not asked again in the same run, unless the host told how long to wait: after this time, it may
be asked again.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from reidhub.cache.store import Cache
from reidhub.download.progress import Progress
from reidhub.download.sources import name_host
from reidhub.download.sources.local import read_digest
from reidhub.download.sources.patience import NO_NETWORK, Patience
from reidhub.download.transfer import Transfer
from reidhub.download.user_mirror import find_in_mirror
from reidhub.errors import CancelledError, FetchError, SourceError
from reidhub.files.lock import take_turn
from reidhub.zoo.artifact import Artifact, Source
from reidhub.zoo.checkpoint import Checkpoint, OwnCheckpoint

_STALLED_S = 120.0  # if another process has written no byte for this time, do not wait for it any longer
_KINDS = {"http": "https"}  # ``--source https`` also asks a mirror without TLS, which has the kind ``http``
_BY_HAND = "fetch the file by hand, then `reidhub cache add FILE`"
_OFFLINE_HINT = (
    "bring the file with `reidhub cache add FILE` or a mirror folder in REIDHUB_MIRROR; "
    "or go online: unset REIDHUB_OFFLINE, and leave out --offline; "
    "see the docs, page Mirrors and offline machines"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Options for fetching files.

    Args:
        kind: ask only sources of this kind, such as ``mega``; None for all kinds.
        fresh: remove the partial download of an earlier run and start at the first byte.
        offline: use the cache and local files only; ``$REIDHUB_OFFLINE`` has the same effect.
        patience: limits on attempts and time for each source. Setting the event ``patience.stop`` ends all downloads.
    """

    kind: str | None = None
    fresh: bool = False
    offline: bool = False
    patience: Patience = field(default_factory=Patience)

    @property
    def stop(self) -> threading.Event:
        """The event that ends all downloads when it is set."""
        return self.patience.stop


def fetch(checkpoint: Checkpoint, cache: Cache) -> Path:
    """Return the path of a checkpoint's file, from the cache or from the first source that gives an intact file.

    Raises:
        FetchError: no source gave the file; the message lists each source with its reason.
        CacheError: the cache folder cannot be written.
        UsageError: ``$REIDHUB_MIRROR`` is neither a folder nor a web address.
    """
    return Fetcher(cache).fetch(checkpoint)


class Fetcher:
    """Fetches checkpoint files into the cache; many threads may use the same object.

    Args:
        cache: the cache that stores the files.
        options: which sources to ask, and the limits on them; None for the defaults.
        progress: shows the progress lines; None for a line for each file, but no line for the total.

    Attributes:
        options: the options in use.
    """

    def __init__(self, cache: Cache, options: FetchOptions | None = None, progress: Progress | None = None) -> None:
        self.options = options or FetchOptions()
        self._cache = cache
        self._offline = self.options.offline or is_offline_by_environment()
        self._progress = progress or Progress()
        self._hosts = _HostFailures()

    def fetch(self, checkpoint: Checkpoint) -> Path:
        """Return the path of a checkpoint's file; download the file if it is not in the cache.

        The file of an `OwnCheckpoint` is not looked for: its own path is returned.

        Raises:
            FetchError: no source gave the file; the message lists each source with its reason.
            CancelledError: the stop event was set.
            CacheError: the cache folder cannot be written.
            UsageError: ``$REIDHUB_MIRROR`` is neither a folder nor a web address.
        """
        if isinstance(checkpoint, OwnCheckpoint):
            return checkpoint.path
        artifact, cache = checkpoint.artifact, self._cache
        self._forget_changed_file(artifact)
        if path := cache.find(artifact):
            cache.remove_partials(artifact)  # left by a process that was killed just after it stored the file
            return path
        watch = _Watch(cache, checkpoint, self.options.stop)
        with take_turn(cache.lock_path(artifact), f"fetching {checkpoint.name}", watch.is_worth_waiting):
            if path := cache.find(artifact):
                return path
            if self.options.fresh:
                cache.remove_partials(artifact)
            return self._ask_sources(checkpoint)

    def _forget_changed_file(self, artifact: Artifact) -> None:
        """Forget the cached copy of an unpinned file on this machine if the file was written again since."""
        first = artifact.sources[0]
        pin = None if artifact.pinned or first.kind != "local" else self._cache.read_pin(artifact)
        if pin and read_digest(first.location) not in (None, pin):
            self._cache.remove_pin(artifact)

    def _ask_sources(self, checkpoint: Checkpoint) -> Path:
        failures = []
        for label, source in self._list_sources(checkpoint):
            self._check_stop(checkpoint)
            try:
                self._check_allowed(checkpoint, source)
                open_line = partial(self._progress.open_line, checkpoint, label)
                return Transfer(checkpoint, source, self._cache, self.options.patience, open_line).run()
            except SourceError as error:
                _log.info("%s: %s: %s", checkpoint.name, label, error.message)
                self._hosts.remember(source, error, checkpoint)
                failures.append(_Failure(label, source, error))
        self._check_stop(checkpoint)
        raise self._explain(checkpoint, failures)

    def _list_sources(self, checkpoint: Checkpoint) -> Iterator[tuple[str, Source]]:
        """Return pairs (label, source): first the user's mirror, then the sources in the manifest.

        The label is a name for messages: ``mirror``, or the kind of the source, such as ``mega``. If ``options.kind``
        is set, only sources of this kind are returned. An ``http:`` mirror then counts as kind ``https``.
        """
        mirror = find_in_mirror(checkpoint)
        named = [("mirror", mirror)] if mirror else []
        named += [(source.kind, source) for source in checkpoint.artifact.sources]
        kind = self.options.kind
        return ((label, source) for label, source in named if kind in (None, _KINDS.get(source.kind, source.kind)))

    def _check_stop(self, checkpoint: Checkpoint) -> None:
        if self.options.stop.is_set():
            raise CancelledError(f"the download of {checkpoint.name} was stopped")

    def _check_allowed(self, checkpoint: Checkpoint, source: Source) -> None:
        """Raise a `SourceError` with the reason if the source must not be asked.

        The reason is one of three: reidhub is offline and the source is not local; the address is ``http:`` and the
        manifest has no sha256 for the file; or the host is down.
        """
        if self._offline and source.kind != "local":
            raise SourceError("not asked: offline")
        if source.kind == "http" and not checkpoint.artifact.pinned:
            raise SourceError("not asked: without TLS only a file with a sha256 is taken, and this one has none")
        self._hosts.check(source, checkpoint)

    def _explain(self, checkpoint: Checkpoint, failures: list["_Failure"]) -> FetchError:
        """Return the error that says why each source did not give the file, with a hint for the user."""
        artifact = checkpoint.artifact
        known = f"{checkpoint.name} ({f'sha256 {artifact.digest.short}...' if artifact.digest else 'unpinned'})"
        if not failures:
            kinds = ", ".join(dict.fromkeys(source.kind for source in artifact.sources))
            return FetchError(f"{known} has no source of kind {self.options.kind}", hint=f"its kinds are {kinds}")
        if self._offline:
            first = f"{known} is not in the cache, and reidhub is offline"
        elif len(failures) == 1:
            first = f"the only source did not give {known}"
        else:
            first = f"none of {len(failures)} sources gave {known}"
        width = max(len(failure.label) for failure in failures)
        lines = [f"  {failure.label:<{width}}  {' '.join(failure.error.message.split())}" for failure in failures]
        hint = _OFFLINE_HINT if self._offline else _find_hint(failures)
        return FetchError("\n".join([first, *lines]), hint=hint, by_hand=self._list_by_hand(artifact))

    def _list_by_hand(self, artifact: Artifact) -> tuple[str, ...]:
        """Return lines with the addresses in the manifest, and with the folder that `reidhub cache add` copies to."""
        addresses = [source.location for source in artifact.sources if source.kind != "local"]
        return (*(f"address: {address}" for address in addresses), f"cache folder: {self._cache.root}")


def is_offline_by_environment() -> bool:
    """Return True if ``$REIDHUB_OFFLINE`` is set to a value other than 0, no, false, off or an empty text."""
    return os.environ.get("REIDHUB_OFFLINE", "").strip().lower() not in ("", "0", "no", "false", "off")


@dataclass(frozen=True, slots=True)
class _Failure:
    label: str
    source: Source
    error: SourceError


def _find_hint(failures: list[_Failure]) -> str:
    """Return a hint that tells the user what to do.

    If no host could be reached, the hint says to check the network. Otherwise, it is the hint of the last failure. If
    that failure has no hint of its own, the hint says to fetch the file by hand.
    """
    by_hand = _BY_HAND if all(failure.error.permanent for failure in failures) else f"try again later, or {_BY_HAND}"
    hints = [failure.error.hint for failure in failures if failure.source.kind != "local"] or [None]
    if set(hints) == {NO_NETWORK}:
        return f"{NO_NETWORK} If so, {by_hand}"
    return by_hand if hints[-1] in (None, NO_NETWORK) else hints[-1]


class _HostFailures:
    """Remembers the hosts that are down, so that they are not asked for further files."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[SourceError, Checkpoint, float]] = {}  # float: monotonic time to ask again
        self._lock = threading.Lock()

    def remember(self, source: Source, error: SourceError, checkpoint: Checkpoint) -> None:
        """Remember that the host of a source is down, if the error says so with ``host_down``."""
        if not error.host_down:
            return
        until = float("inf") if error.retry_after_s is None else time.monotonic() + error.retry_after_s
        with self._lock:
            self._known[name_host(source)] = error, checkpoint, until

    def check(self, source: Source, checkpoint: Checkpoint) -> None:
        """Raise a `SourceError` if the host of a source was down before and must not be asked again yet."""
        with self._lock:
            known = self._known.get(name_host(source))
        if known is None:
            return
        error, first, until = known
        if time.monotonic() < until:
            after = "" if first.name == checkpoint.name else f" after {first.name}"
            raise SourceError(f"not asked again{after}: {error.message}", hint=error.hint)


class _Watch:
    """Watches another process that fetches the same file."""

    def __init__(self, cache: Cache, checkpoint: Checkpoint, stop: threading.Event) -> None:
        self._cache = cache
        self._artifact = checkpoint.artifact
        self._stop = stop
        self._written_ns = -1
        self._since = time.monotonic()

    def is_worth_waiting(self) -> bool:
        """Return False if the other process has written no byte for two minutes, or the stop event is set."""
        written_ns = self._cache.last_written(self._artifact)
        if written_ns != self._written_ns:
            self._written_ns, self._since = written_ns, time.monotonic()
        return time.monotonic() - self._since < _STALLED_S and not self._stop.is_set()
