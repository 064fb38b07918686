"""How long a source keeps trying: one policy for every host."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

from reidhub.errors import SourceError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """The bounds on one download from one source.

    Args:
        attempts: in a row without a new byte.
        connections: that broke, over the whole file, however many bytes came in between.
        pause_s: before the second attempt; doubled for each further one, and jittered.
        longest_pause_s: also the longest wait a host may ask for; for more, the caller is told to come back.
        connect_s: for a connection to stand.
        read_s: without a byte on an open connection.
        first_byte_s: until Google Drive has led to a file.
        puzzle_s: of computing, where Mega asks for a proof of work.
        total_s: for everything.
    """

    attempts: int = 6
    connections: int = 100
    pause_s: float = 0.5
    longest_pause_s: float = 30.0
    connect_s: float = 10.0
    read_s: float = 30.0
    first_byte_s: float = 60.0
    puzzle_s: float = 60.0
    total_s: float = 4 * 3600.0

    @property
    def timeout(self) -> tuple[float, float]:
        """Connect and read timeout, as requests takes them."""
        return self.connect_s, self.read_s


PATIENCE = Patience()

_TOLD_S = 2.0  # a pause from here on is told to everybody, a shorter one to who asks for details

_log = logging.getLogger(__name__)


NO_NETWORK = "is there a network, or a proxy to be set in $HTTPS_PROXY?"


class Hiccup(SourceError):
    """A failure that the next attempt may not meet; past the end of patience it is the source's error."""

    def after(self, held: int, size: int | None) -> Self:
        """The same failure, saying how far the file had come; nothing where it had not begun."""
        if not held:
            return self
        place = f" after {held} bytes" if size is None else f" after {held} of {size} bytes"
        return type(self)(
            self.message + place, hint=self.hint, retry_after_s=self.retry_after_s, host_down=self.host_down
        )


class Unreachable(Hiccup):
    """No connection came about. Before the first answer that rarely mends itself: it is tried once more, then left."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = NO_NETWORK,
        retry_after_s: float | None = None,
        host_down: bool = True,
    ) -> None:
        super().__init__(message, hint=hint, retry_after_s=retry_after_s, host_down=host_down)


class Attempts:
    """What is left of a `Patience` in the course of one download."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._end = time.monotonic() + patience.total_s
        self._failed = 0
        self._broken = 0
        self._reached = False

    def progressed(self) -> None:
        """New bytes came.

        Raises:
            SourceError: the time for everything is over.
        """
        self._failed = 0
        self._reached = True
        self.check_time()

    def again(self, error: Hiccup) -> None:
        """Pause before the next attempt.

        Raises:
            Hiccup: ``error``, where there is no next attempt.
        """
        self._failed += 1
        self._broken += 1
        most = 2 if isinstance(error, Unreachable) and not self._reached else self.patience.attempts
        pause_s = self._pause_s(error)
        if self._failed >= most or self._broken >= self.patience.connections or pause_s is None:
            raise error
        if time.monotonic() + pause_s > self._end:
            raise error
        level = logging.WARNING if pause_s >= _TOLD_S else logging.INFO
        _log.log(level, "%s; the next attempt is in %s", error.message, format_duration(pause_s))
        time.sleep(pause_s)
        self.check_time()

    def _pause_s(self, error: Hiccup) -> float | None:
        """None where the host asks for a longer pause than patience allows."""
        asked_s = error.retry_after_s or 0.0
        if asked_s > self.patience.longest_pause_s:
            return None
        own_s = self.patience.pause_s * 2.0 ** (self._failed - 1) * random.uniform(0.5, 1.0)
        return max(asked_s, min(own_s, self.patience.longest_pause_s))

    def check_time(self) -> None:
        """Is there time left?

        Raises:
            SourceError: the time for everything is over.
        """
        if time.monotonic() > self._end:
            raise SourceError(f"not done after {format_duration(self.patience.total_s)}")


def format_duration(seconds: float) -> str:
    """A time for people: ``30 s``, ``41 min``, ``5.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def retried(ask: Callable[[], T], patience: Patience) -> T:
    """What ``ask`` gives, asked again for each `Hiccup` as long as patience lasts.

    Raises:
        SourceError: what ``ask`` raised last.
    """
    attempts = Attempts(patience)
    while True:
        try:
            return ask()
        except Hiccup as error:
            attempts.again(error)
