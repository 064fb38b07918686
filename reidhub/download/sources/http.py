"""HTTP requests for all sources on the web, with retries, checked redirects, and reading of bodies in blocks.

The library ``requests`` reads the settings for proxies and certificates from environment variables. It would also read
passwords from the file `~/.netrc`, for the first host and for every host of a redirect; none of them is sent.
"""

import re
import string
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from reidhub._version import __version__
from reidhub.download.sources.failures import describe_break, describe_failure, describe_status, name_web_host
from reidhub.download.sources.patience import NO_NETWORK, Patience, UnreachableError
from reidhub.download.sources.retry import Attempts
from reidhub.errors import SourceError

Check = Callable[[str, str], str]
"""Function of a URL and its base URL. Returns the absolute URL, or raises `SourceError` if the URL is not allowed."""

_BLOCK = 256 * 1024  # bytes of a block that `read_blocks` yields
_READ = 16 * 1024  # bytes of one read; the length of the longest TLS record
_PROMPT_S = 0.5  # a block is yielded after this time even if it is short, so that slow downloads show progress
_REDIRECTS = 10
NUMBER = "[0-9]{1,18}"
"""Regular expression for a byte count in a header; at most 18 digits, because `int` refuses thousands of digits."""


class Session(requests.Session):
    """Sends the requests of one download from one source.

    Args:
        patience: limits on the download.

    Attributes:
        attempts: the object that counts how many attempts and how much time this download has left.
    """

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self.attempts = Attempts(patience)
        self.auth = _send_no_password
        self.headers["User-Agent"] = f"reidhub/{__version__}"
        self.headers["Accept-Encoding"] = "identity"  # no compression, so that offsets and sizes are those of the file
        for scheme in ("https://", "http://"):
            self.mount(scheme, self.attempts.adapter)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Always return None, so that ``requests`` does not notice redirects; `follow` follows them.

        If ``requests`` notices a redirect, it reads the whole body of the answer, which may be long.
        """

    @contextmanager
    def open(self, method: str, url: str, **options: Any) -> Iterator[requests.Response]:
        """Send a request and yield the answer, without reading its body and without following redirects.

        Raises:
            SourceError: no answer came, or every attempt failed, for example with the status 503.
        """
        patience, self.attempts.host = self.attempts.patience, name_web_host(url)
        timeout = (patience.connect_s, patience.read_s)
        try:
            response = self.request(method, url, stream=True, allow_redirects=False, timeout=timeout, **options)
        except (OSError, HTTPError) as error:  # exceptions of requests are OSErrors
            raise describe_failure(error, name_web_host(url)) from None
        with response:
            yield response

    @contextmanager
    def follow(
        self, url: str, headers_for: Callable[[str], dict[str, str]] = lambda _: {}, check: Check | None = None
    ) -> Iterator[requests.Response]:
        """Send a GET request, follow the redirects, and yield the last answer.

        Args:
            url: the first URL; not checked here.
            headers_for: returns the headers for a URL; called for each URL, so that no token goes to another host.
            check: checks each redirect. It gets the new URL and the URL that redirects to it, and returns the absolute
                new URL. None for `check_https`.

        Raises:
            SourceError: no answer came, there are too many redirects, or ``check`` refuses a new URL.
        """
        at = url
        for _ in range(_REDIRECTS + 1):
            with self.open("GET", at, headers=headers_for(at)) as response:
                target = response.headers.get("Location")
                if response.status_code not in (301, 302, 303, 307, 308) or target is None:
                    yield response
                    return
                raw = target.strip().encode("latin-1")  # the bytes that the host sent, often UTF-8
                at = (check or check_https)(quote(raw, safe=string.punctuation), at)
        raise SourceError(f"{name_web_host(url)}: more than {_REDIRECTS} redirects")

    def read_blocks(self, response: requests.Response) -> Iterator[bytes]:
        """Yield the body of an answer in blocks. If the connection breaks, yield all received bytes before the error.

        Raises:
            TransientError: the connection broke, stalled, or ended before the announced length.
            SourceError: the time for the download is over.
            CancelledError: the stop event was set.
        """
        # Not `read`: if the connection breaks while it waits for more bytes, the bytes that it has received are lost.
        read = getattr(response.raw, "read1", response.raw.read)
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
        """Read one block of a body and append its parts to ``pieces``; return True if the body has ended.

        The block ends when it has `_BLOCK` bytes, or after `_PROMPT_S` seconds.
        """
        room, due = _BLOCK, time.monotonic() + _PROMPT_S
        while room > 0 and time.monotonic() < due:
            self.attempts.deadline.start_wait(self.attempts.patience.read_s)
            piece = read(_READ)
            if not piece:
                return True
            pieces.append(piece)
            room -= len(piece)
        return False

    def read_start(self, response: requests.Response, size: int) -> bytes:
        """Return the start of a body: at least ``size`` bytes, or the whole body if it is shorter.

        The body is read in blocks, so up to one block more than ``size`` bytes is returned.

        Raises:
            UnreachableError: the bytes do not come within about `Patience.read_s`.
            SourceError: the time for the download is over, or the connection broke (then a `TransientError`).
            CancelledError: the stop event was set.
        """
        data, end = bytearray(), time.monotonic() + self.attempts.patience.read_s
        for block in self.read_blocks(response):
            data += block
            if len(data) >= size:
                break
            if time.monotonic() > end:
                host = name_web_host(response.url)
                raise UnreachableError(f"{host}: the answer was not complete in time", hint=NO_NETWORK, host_down=True)
        return bytes(data)


def _send_no_password(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Leave a request as it is; as a session's ``auth``, this stops ``requests`` from reading `~/.netrc`."""
    return request


def check_https(url: str, base: str = "") -> str:
    """Return the absolute URL for ``url``, which may be relative to ``base``.

    Raises:
        SourceError: the URL is malformed, is not ``https:``, or holds a user name. The error is permanent.
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
    """Return the error for an answer with an HTTP status that means failure; see `describe_status`."""
    return describe_status(name_web_host(response.url), response.status_code, response.headers)


def read_length(response: requests.Response) -> int | None:
    """Return ``Content-Length`` in bytes; None if it is missing or malformed, or the body is chunked or compressed."""
    if "Transfer-Encoding" in response.headers or is_encoded(response):
        return None
    text = response.headers.get("Content-Length", "")
    return int(text) if re.fullmatch(NUMBER, text) else None


def is_encoded(response: requests.Response) -> bool:
    """Return True if the body is compressed, although no compression was asked for."""
    return response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")
