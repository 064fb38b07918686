"""Time limits on reading the answers of web hosts.

The timeout of a socket starts again with each byte that comes. So a host that sends a byte now and then could keep a
download busy for ever: in the status line, between headers, with ``100 Continue`` again and again, after the last chunk
of a body, or as a proxy that answers CONNECT. Here every read from the socket gets only the time that is left.
"""

import io
import socket
import time
from http.client import HTTPResponse
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool

from reidhub.download.sources.patience import Patience, format_duration
from reidhub.errors import CancelledError, SourceError


class Deadline:
    """The end of one download from one source, and the end of the wait for the next bytes.

    Args:
        patience: limits on the download, which starts now.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._end = self._wait_end = time.monotonic() + patience.total_s

    def start_wait(self, seconds: float) -> None:
        """Give the host this time, in seconds, to send the head of an answer or the next bytes of a body."""
        self._wait_end = time.monotonic() + seconds

    def is_over_in(self, seconds: float) -> bool:
        """Return True if the download must end within this time, in seconds."""
        return time.monotonic() + seconds > self._end

    def check(self) -> None:
        """Raise an error if the download must end.

        Raises:
            CancelledError: the stop event is set.
            SourceError: the time for the download is over.
        """
        if self._patience.stop.is_set():
            raise CancelledError("the download was stopped")
        if self.is_over_in(0):
            raise SourceError(f"not done after {format_duration(self._patience.total_s)}")

    def find_time_left(self) -> float:
        """Return the seconds until the wait or the download ends; always more than 0.

        Raises:
            TimeoutError: the wait is over.
            CancelledError: the stop event is set.
            SourceError: the time for the download is over.
        """
        self.check()
        left = min(self._end, self._wait_end) - time.monotonic()
        if left <= 0:
            raise TimeoutError("the host sends too slowly")
        return left


class TimedAdapter(HTTPAdapter):
    """Sends requests like its base class, and stops reading the answers at a `Deadline`.

    Args:
        deadline: limits the time.
        options: the options of `HTTPAdapter`.
    """

    def __init__(self, deadline: Deadline, **options: Any) -> None:
        super().__init__(**options)
        self._deadline = deadline
        self._answer: _TimedAnswer | None = None

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        """Send a request; if urllib3 refuses the answer, close its connection, which urllib3 would leave open."""
        try:
            return super().send(*arguments, **options)
        except BaseException:
            if self._answer:
                self._answer.close()
            raise

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> HTTPConnectionPool:
        """Return a pool of connections whose answers are `_TimedAnswer` objects."""
        pool = cast(HTTPConnectionPool, super().get_connection_with_tls_context(*arguments, **options))
        connection = pool.ConnectionCls
        if "response_class" not in vars(connection):
            timed = {"response_class": staticmethod(self._make_answer)}
            pool.ConnectionCls = type("TimedConnection", (connection,), timed)
        return pool

    def _make_answer(self, sock: socket.socket, *arguments: Any, **options: Any) -> "_TimedAnswer":
        self._answer = _TimedAnswer(self._deadline, sock, *arguments, **options)
        return self._answer


class _TimedAnswer(HTTPResponse):
    """An answer of a host, or of a proxy to CONNECT; reading it stops at the deadline.

    The head must be complete within the socket's timeout, which urllib3 has just set.
    """

    def __init__(self, deadline: Deadline, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        deadline.start_wait(sock.gettimeout() or 0.0)
        self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock, deadline))

    def begin(self) -> None:
        """Read the head of the answer, and forget malformed headers.

        urllib3 would log them with the whole URL, which may contain a token.
        """
        super().begin()
        self.msg.defects.clear()
        self.msg.set_payload("")


class _TimedReader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: Deadline) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        try:
            self._sock.settimeout(self._deadline.find_time_left())
            return self._raw.readinto(buffer)
        except TimeoutError:
            self._deadline.check()
            raise

    def close(self) -> None:
        self._raw.close()
        super().close()
