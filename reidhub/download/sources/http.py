"""Requests to web hosts, for all sources on the web: with retries, checked redirects, and bodies of bounded length.

Proxy and certificate settings come from the environment, as requests reads them.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from reidhub._version import __version__
from reidhub.download.sources.failures import describe_break, describe_failure, describe_status, name_web_host
from reidhub.download.sources.patience import Patience
from reidhub.download.sources.retry import Attempts
from reidhub.errors import SourceError

Check = Callable[[str, str], str]
"""Takes an address and the one it is relative to; returns the absolute one, or raises `SourceError`."""

_BLOCK = 256 * 1024  # bytes that are handed on together
_READ = 16 * 1024  # bytes; no more lie in one TLS record
_PROMPT_S = 0.5  # a block is handed on after this time, so that a slow download is seen to move
_REDIRECTS = 10
NUMBER = "[0-9]{1,18}"
"""A pattern for numbers of bytes in headers; Python refuses to read a number of thousands of digits."""


class Session(requests.Session):
    """The requests of one download from one source.

    Args:
        patience: limits on the download.

    Attributes:
        attempts: what is left of the patience.
    """

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self.attempts = Attempts(patience)
        self.headers["User-Agent"] = f"reidhub/{__version__}"
        self.headers["Accept-Encoding"] = "identity"  # offsets and sizes are those of the file
        for scheme in ("https://", "http://"):
            self.mount(scheme, self.attempts.adapter)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: requests would read the body of a redirect to its end, even where it does not follow it."""

    @contextmanager
    def open(self, method: str, url: str, **options: Any) -> Iterator[requests.Response]:
        """Send a request, and give the answer with its body still to be read. Redirects are not followed.

        Raises:
            SourceError: no answer came, or every attempt ended with a status such as 503.
        """
        patience, self.attempts.host = self.attempts.patience, name_web_host(url)
        timeout = (patience.connect_s, patience.read_s)
        try:
            response = self.request(method, url, stream=True, allow_redirects=False, timeout=timeout, **options)
        except (OSError, HTTPError) as error:  # those of requests are OSErrors
            raise describe_failure(error, name_web_host(url)) from None
        with response:
            yield response

    @contextmanager
    def follow(
        self, url: str, headers_for: Callable[[str], dict[str, str]] = lambda _: {}, check: Check | None = None
    ) -> Iterator[requests.Response]:
        """Ask for an address that was checked, and give the answer at the end of the redirects.

        Args:
            url: the address.
            headers_for: called with each address, so that nothing meant for one host goes to another.
            check: called with each target and the address that leads there; `check_https` where None.

        Raises:
            SourceError: no answer came, there are too many redirects, or one leads to an address without TLS.
        """
        at = url
        for _ in range(_REDIRECTS + 1):
            with self.open("GET", at, headers=headers_for(at)) as response:
                target = response.headers.get("Location")
                if response.status_code not in (301, 302, 303, 307, 308) or target is None:
                    yield response
                    return
                at = (check or check_https)(target, at)
        raise SourceError(f"{name_web_host(url)}: more than {_REDIRECTS} redirects")

    def read_blocks(self, response: requests.Response) -> Iterator[bytes]:
        """Read a body. What came before a connection broke is handed on before the error is raised.

        Raises:
            TransientError: the connection broke, stalled, or ended before the length it had announced.
            SourceError: the time for the download is over.
            CancelledError: the stop event was set.
        """
        read = getattr(response.raw, "read1", response.raw.read)  # read() waits, and loses what came before a break
        ended = False
        while not ended:
            pieces: list[bytes] = []
            broken = None
            try:
                ended = self._read_block(read, pieces)
            except (HTTPError, OSError) as error:
                broken = describe_break(error, name_web_host(response.url))
            if pieces:
                yield b"".join(pieces)
            if broken:
                raise broken

    def _read_block(self, read: Callable[[int], bytes], pieces: list[bytes]) -> bool:
        """Append what comes until it is worth handing on; True at the end of the body."""
        room, due = _BLOCK, time.monotonic() + _PROMPT_S
        while room > 0 and time.monotonic() < due:
            self.attempts.check()
            piece = read(_READ)
            if not piece:
                return True
            pieces.append(piece)
            room -= len(piece)
        return False

    def read_start(self, response: requests.Response, size: int) -> bytes:
        """Read the first ``size`` bytes of a body, or up to one block more. Raises what `read_blocks` does."""
        data = bytearray()
        for block in self.read_blocks(response):
            data += block
            if len(data) >= size:
                break
        return bytes(data)


def check_https(url: str, base: str = "") -> str:
    """Return the absolute address.

    Raises:
        SourceError: it is malformed, goes without TLS, or carries a password; permanent.
    """
    try:
        whole = urljoin(base, url)
        parts = urlsplit(whole)
    except ValueError:
        raise SourceError("the address is malformed", permanent=True) from None
    if parts.scheme != "https" or not parts.hostname:
        raise SourceError(f"{parts.hostname}: an address without TLS is not followed", permanent=True)
    if parts.username is not None:
        raise SourceError(f"{parts.hostname}: an address with a password in it is not followed", permanent=True)
    return whole


def describe_refusal(response: requests.Response) -> SourceError:
    """Put an answer that is no success into words: its status, and when to come back."""
    return describe_status(name_web_host(response.url), response.status_code, response.headers)


def read_length(response: requests.Response) -> int | None:
    """Read ``Content-Length``, where it counts the bytes that will be read."""
    if "Transfer-Encoding" in response.headers or is_encoded(response):
        return None
    text = response.headers.get("Content-Length", "")
    return int(text) if re.fullmatch(NUMBER, text) else None


def is_encoded(response: requests.Response) -> bool:
    """True where the body is compressed, which nobody asked for."""
    return response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")
