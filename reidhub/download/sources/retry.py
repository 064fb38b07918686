"""Repeat failed requests with urllib3's Retry, extended for long downloads.

urllib3 counts the attempts, and repeats a request after a failed connection or a status such as 503. This module
changes four things:

- urllib3 waits as long as ``Retry-After`` asks, up to 6 hours, and the wait cannot be stopped. Here a source gives up
  if a host asks for more than `Patience.longest_pause_s`, and the stop event ends a wait;
- urllib3 reads the whole body of an answer before it repeats the request. Here the body is not read;
- urllib3 does not notice that a connection breaks while the body is read. Here the source requests the missing bytes,
  and counts this attempt with `Attempts.wait_after`;
- urllib3 logs the whole address of a failed connection, with tokens. Here only the host is logged.
"""

import logging
import random
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError

from reidhub.download.sources.deadline import Deadline, TimedAdapter
from reidhub.download.sources.failures import RETRY_STATUSES, describe_failure, describe_status
from reidhub.download.sources.patience import Patience, TransientError, UnreachableError, format_duration
from reidhub.errors import SourceError

T = TypeVar("T")
_TOLD_S = 2.0  # a pause of this length or more is logged as a warning, a shorter one as information

_log = logging.getLogger(__name__)


class Attempts:
    """Counts the attempts and the time that one download from one source has left.

    Args:
        patience: limits on the download.

    Attributes:
        patience: limits on the download.
        deadline: limits the time of the download and of each wait.
        adapter: the adapter of the library ``requests``, which sends each request and repeats it after a failure.
        host: name of the host of the current request, for messages.
    """

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.host = "no host"
        self.deadline = Deadline(patience)
        self._broken = 0
        self.adapter = TimedAdapter(self.deadline, max_retries=self._start_count(connect=1))

    def _start_count(self, connect: int | None) -> "_Retry":
        """Return a new `_Retry` with all attempts left.

        Args:
            connect: largest number of retries after an `UnreachableError`; None if only the total number of attempts
                limits them.
        """
        return _Retry(
            self,
            total=self.patience.attempts - 1,
            connect=connect,
            status_forcelist=RETRY_STATUSES,
            allowed_methods=None,  # all of them
            backoff_factor=self.patience.pause_s,
            backoff_max=self.patience.longest_pause_s,
        )

    def note_progress(self) -> None:
        """Forget all failed attempts, because new bytes came.

        This also ends a rule for the start of a download: before the first byte, a request is repeated only once after
        an `UnreachableError`. From now on, this error counts like any other failure.
        """
        self.adapter.max_retries = self._start_count(connect=None)

    def wait_after(self, error: TransientError) -> None:
        """Count a failed attempt, then wait before the next attempt.

        Args:
            error: the failure of the attempt.

        Raises:
            TransientError: ``error`` itself, if the source gives up: no attempt is left, the time would end during the
                pause, or the host asks for a longer pause than `Patience.longest_pause_s`.
            CancelledError: the stop event was set.
            SourceError: the time for the download is over.
        """
        self._broken += 1
        if self._broken >= self.patience.connections:
            raise error
        self.adapter.max_retries.increment(error=error).sleep()

    def repeat(self, ask: Callable[[], T]) -> T:
        """Return what ``ask`` returns; call ``ask`` again after each `TransientError`, as long as attempts are left.

        Raises:
            SourceError: the last error that ``ask`` raised.
        """
        while True:
            try:
                return ask()
            except TransientError as error:
                self.wait_after(error)

    def pause(self, seconds: float, after: TransientError) -> None:
        """Wait ``seconds`` before the next attempt.

        Args:
            seconds: length of the pause.
            after: the failure of the last attempt.

        Raises:
            TransientError: ``after`` itself, if the time for the download would end during the pause.
            CancelledError: the stop event was set.
        """
        if self.deadline.is_over_in(seconds):
            raise after from None
        level = logging.WARNING if seconds >= _TOLD_S else logging.INFO
        _log.log(level, "%s; the next attempt is in %s", after.message, format_duration(seconds))
        self.patience.stop.wait(seconds)
        self.deadline.check()


class _Retry(urllib3.Retry):
    """Counts the attempts that are left; when no attempt is left, `increment` raises a `SourceError`.

    An object does not change: after each failure, `increment` makes a new object with one attempt less. The new object
    becomes ``attempts.adapter.max_retries``, so that the next request continues the count.

    Args:
        attempts: the `Attempts` of the download.
        options: the options of `urllib3.Retry`.
    """

    def __init__(self, attempts: Attempts, **options: Any) -> None:
        super().__init__(**options)
        self._attempts = attempts
        self._failure = TransientError("")

    def new(self, **options: Any) -> Self:
        return super().new(attempts=self._attempts, **options)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        failure = self._describe(response, error)
        if response is not None:
            response.close()  # urllib3 would read the rest of its body
        if not isinstance(failure, TransientError) or (failure.retry_after_s or 0) > self.backoff_max:
            raise failure from None
        if isinstance(failure, UnreachableError):
            error = ConnectTimeoutError()  # so that urllib3 counts failures of TLS and proxies as ``connect`` too
        try:
            retry = super().increment(method, url, response, error, _pool, _stacktrace)
        except MaxRetryError:
            raise failure from None
        retry._failure = failure
        self._attempts.adapter.max_retries = retry
        return retry

    def _describe(self, response: urllib3.BaseHTTPResponse | None, error: Exception | None) -> SourceError:
        if response is not None:
            return describe_status(self._attempts.host, response.status, response.headers)
        if isinstance(error, SourceError):
            return error
        return describe_failure(error or HTTPError(), self._attempts.host)

    def get_backoff_time(self) -> float:
        return min(self.backoff_factor * 2.0 ** (len(self.history) - 1), self.backoff_max) * random.uniform(0.5, 1.0)

    def sleep(self, response: urllib3.BaseHTTPResponse | None = None) -> None:
        self._attempts.pause(max(self._failure.retry_after_s or 0.0, self.get_backoff_time()), self._failure)


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Return False for urllib3's warning about one of our retries, so that it is not logged.

    The warning shows the whole URL, which may contain a token.
    """
    return not (isinstance(record.args, tuple) and record.args and isinstance(record.args[0], _Retry))


logging.getLogger("urllib3.connectionpool").addFilter(_is_not_ours)
