"""From a checkpoint to its file: the cache, else the user's mirror, else each source in the manifest's order.

What was found out about a host holds for the rest of a run: one that is down is not asked for every further file.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reidhub.cache.store import Cache
from reidhub.download.progress import Progress
from reidhub.download.sources import name_host
from reidhub.download.sources.patience import NO_NETWORK
from reidhub.download.transfer import Order, Receiver, Terms
from reidhub.download.user_mirror import mirror_source
from reidhub.errors import CancelledError, FetchError, SourceError
from reidhub.files.lock import turn
from reidhub.zoo.checkpoint import Checkpoint

_STALLED_S = 120.0  # without a byte from the process that is waited for: it is not waited for any longer

_log = logging.getLogger(__name__)


def fetch(checkpoint: Checkpoint, cache: Cache) -> Path:
    """The file of a checkpoint, from the cache or from the first source that gives it intact.

    Raises:
        FetchError: no source did; each one is named with its reason.
        CacheError: the cache folder cannot be written.
    """
    return Resolver(cache).fetch(checkpoint)


class Resolver:
    """Fetches the files of one run; safe to use from many threads.

    Args:
        cache: where they end up.
        terms: which sources are asked, and how; ``$REIDHUB_OFFLINE`` counts as well.
        progress: what the user sees of it.

    Attributes:
        terms: those it was given.
    """

    def __init__(self, cache: Cache, terms: Terms | None = None, progress: Progress | None = None) -> None:
        self._cache = cache
        self.terms = terms or Terms()
        self._offline = self.terms.offline or offline_by_environment()
        self._receiver = Receiver(cache, self.terms, progress or Progress())
        self._down = _Down()

    def fetch(self, checkpoint: Checkpoint) -> Path:
        """The file of a checkpoint.

        Raises:
            FetchError: no source gave it; each one is named with its reason.
            CancelledError: ``terms.stop`` was set.
            CacheError: the cache folder cannot be written.
        """
        artifact = checkpoint.artifact
        if path := self._cache.find(artifact):
            self._cache.remove_partials(artifact)  # a process killed just behind its last step has left its notes
            return path
        with turn(self._cache.lock_path(artifact), f"fetching {checkpoint.name}", _Watch(self._cache, checkpoint)):
            if path := self._cache.find(artifact):
                return path
            if self.terms.fresh:
                self._cache.remove_partials(artifact)
            return self._from_sources(checkpoint)

    def _from_sources(self, checkpoint: Checkpoint) -> Path:
        reasons: list[tuple[Order, SourceError]] = []
        for order in self._orders(checkpoint):
            self._check_stop(checkpoint)
            try:
                self._check_allowed(order)
                return self._receiver.receive(order)
            except SourceError as error:
                _log.info("%s: %s: %s", checkpoint.name, order.label, error.message)
                self._down.note(order, error)
                reasons.append((order, error))
        self._check_stop(checkpoint)
        raise self._failure(checkpoint, reasons)

    def _check_stop(self, checkpoint: Checkpoint) -> None:
        if self.terms.stop.is_set():
            raise CancelledError(f"the download of {checkpoint.name} was stopped")

    def _orders(self, checkpoint: Checkpoint) -> Iterator[Order]:
        """What to try, in turn: the mirror and the manifest's sources, or those of the kind that is insisted on."""
        mirror = mirror_source(checkpoint)
        every = [Order(checkpoint, mirror, "mirror")] if mirror else []
        every += [Order(checkpoint, source, source.kind) for source in checkpoint.artifact.sources]
        return (order for order in every if self.terms.kind in (None, _KINDS.get(order.source.kind, order.source.kind)))

    def _check_allowed(self, order: Order) -> None:
        """May the source be asked?

        Raises:
            SourceError: it may not, and why.
        """
        kind = order.source.kind
        if self._offline and kind != "local":
            raise SourceError("not asked: offline")
        if kind == "http" and not order.artifact.pinned:
            raise SourceError("not asked: without TLS only a file with a sha256 is taken, and this one has none")
        self._down.check(order)

    def _failure(self, checkpoint: Checkpoint, reasons: list[tuple[Order, SourceError]]) -> FetchError:
        artifact = checkpoint.artifact
        known = f"{checkpoint.name} ({f'sha256 {artifact.digest.short}...' if artifact.digest else 'unpinned'})"
        if not reasons:
            kinds = ", ".join(dict.fromkeys(source.kind for source in artifact.sources))
            return FetchError(f"{known} has no source of kind {self.terms.kind}", hint=f"its kinds are {kinds}")
        count = "the only source did not give" if len(reasons) == 1 else f"none of {len(reasons)} sources gave"
        first = f"{known} is not in the cache, and reidhub is offline" if self._offline else f"{count} {known}"
        width = max(len(order.label) for order, _ in reasons)
        lines = [f"  {order.label:<{width}}  {' '.join(error.message.split())}" for order, error in reasons]
        by_hand = _BY_HAND if all(error.permanent for _, error in reasons) else f"try again later, or {_BY_HAND}"
        hints = [error.hint for order, error in reasons if order.source.kind != "local"] or [None]
        if self._offline:
            hint = _OFFLINE_HINT
        elif set(hints) == {NO_NETWORK}:
            hint = f"{NO_NETWORK} If so, {by_hand}"
        else:
            hint = by_hand if hints[-1] in (None, NO_NETWORK) else hints[-1]
        return FetchError("\n".join([first, *lines]), hint=hint)


_KINDS = {"http": "https"}  # what a user who insists on a kind means by it
_BY_HAND = "fetch the file by hand, then `reidhub cache add FILE`"
_OFFLINE_HINT = "bring the file with `reidhub cache add FILE` or a mirror folder in REIDHUB_MIRROR, or go online"


def offline_by_environment() -> bool:
    """True where ``$REIDHUB_OFFLINE`` says so: anything but nothing, 0, no, false and off."""
    return os.environ.get("REIDHUB_OFFLINE", "").strip().lower() not in ("", "0", "no", "false", "off")


@dataclass(frozen=True, slots=True)
class _Fault:
    error: SourceError
    met_by: str
    until: float  # monotonic time


class _Down:
    """The hosts that need not be asked again in this run."""

    def __init__(self) -> None:
        self._faults: dict[str, _Fault] = {}
        self._lock = threading.Lock()

    def note(self, order: Order, error: SourceError) -> None:
        """Remember the host where the error is the host's rather than the file's."""
        if not error.host_down:
            return
        until = float("inf") if error.retry_after_s is None else time.monotonic() + error.retry_after_s
        with self._lock:
            self._faults[name_host(order.source)] = _Fault(error, order.checkpoint.name, until)

    def check(self, order: Order) -> None:
        """Is the host worth asking?

        Raises:
            SourceError: it was down a moment ago.
        """
        with self._lock:
            fault = self._faults.get(name_host(order.source))
        if fault and time.monotonic() < fault.until:
            after = "" if fault.met_by == order.checkpoint.name else f" after {fault.met_by}"
            raise SourceError(f"not asked again{after}: {fault.error.message}", hint=fault.error.hint)


class _Watch:
    """Tells whether another process that fetches the file gets on with it."""

    def __init__(self, cache: Cache, checkpoint: Checkpoint) -> None:
        self._cache = cache
        self._artifact = checkpoint.artifact
        self._seen = -1
        self._since = time.monotonic()

    def __call__(self) -> bool:
        newest = self._cache.last_written(self._artifact)
        if newest != self._seen:
            self._seen, self._since = newest, time.monotonic()
        return time.monotonic() - self._since < _STALLED_S
