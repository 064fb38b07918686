"""What all hosts that speak HTTPS have in common: the session, timeouts, and failures put into words.

Proxy and certificate settings come from the environment, as requests reads them. No text of an exception is passed on,
for a few of them quote the proxy's address, password included.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from reidhub._version import __version__
from reidhub.download.sources.retry import Hiccup, Patience, Unreachable, format_duration
from reidhub.errors import SourceError

BLOCK = 256 * 1024  # bytes that are handed on together
_READ = 16 * 1024  # bytes; no more lie in one TLS record
_PROMPT_S = 0.5  # or after that time, so that a slow download is seen to move

_REDIRECTS = 10
Check = Callable[[str, str], str]
"""Takes an address and the one it is relative to; gives the absolute one, or raises `SourceError`."""

_PASSING = {408, 425, 429, 500, 502, 503, 504}


@contextmanager
def session() -> Iterator[requests.Session]:
    """A fresh session, closed at the end."""
    with requests.Session() as http:
        http.headers["User-Agent"] = f"reidhub/{__version__}"
        http.headers["Accept-Encoding"] = "identity"  # offsets and sizes are those of the file
        yield http


@contextmanager
def answer(
    http: requests.Session, method: str, url: str, patience: Patience, **options: Any
) -> Iterator[requests.Response]:
    """One answer with its body still to be read; redirects are not followed.

    Raises:
        Hiccup: none came.
        SourceError: TLS or an address is wrong, which no further attempt mends.
    """
    try:
        response = http.request(method, url, stream=True, allow_redirects=False, timeout=patience.timeout, **options)
    except (OSError, urllib3.exceptions.HTTPError) as error:  # those of requests are OSErrors
        raise failure(error, host_of(url)) from None
    with response:
        yield response


@contextmanager
def followed(
    http: requests.Session,
    url: str,
    patience: Patience,
    headers_for: Callable[[str], dict[str, str]] = lambda _: {},
    check: Check | None = None,
) -> Iterator[requests.Response]:
    """The answer at the end of the redirects.

    Args:
        http: a session.
        url: where to begin; must be checked already.
        patience: gives the timeouts.
        headers_for: called with each address, so that nothing meant for one host goes to another.
        check: called with each target and where it stands; `checked` where None.

    Raises:
        Hiccup: no answer came.
        SourceError: there are too many redirects, or one leads to an address without TLS.
    """
    at = url
    for _ in range(_REDIRECTS + 1):
        with answer(http, "GET", at, patience, headers=headers_for(at)) as response:
            target = response.headers.get("Location")
            if response.status_code not in (301, 302, 303, 307, 308) or target is None:
                yield response
                return
            at = (check or checked)(target, at)
    raise SourceError(f"{host_of(url)}: more than {_REDIRECTS} redirects")


def checked(url: str, base: str = "") -> str:
    """The absolute address.

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


def blocks(response: requests.Response, came: Callable[[], None]) -> Iterator[bytes]:
    """The body; what came before a connection broke is handed on before that is told.

    Args:
        response: its body not yet read.
        came: called whenever bytes have come; may raise to end it.

    Raises:
        Hiccup: the connection broke, stalled, or ended before the length it had announced.
    """
    read = getattr(response.raw, "read1", response.raw.read)  # read() waits, and loses what came before a break
    ended = False
    while not ended:
        pieces: list[bytes] = []
        broken = None
        try:
            ended = _gather(pieces, read, came)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            broken = failure(error, host_of(response.url))
        if pieces:
            yield b"".join(pieces)
        if broken:
            raise broken


def _gather(pieces: list[bytes], read: Callable[[int], bytes], came: Callable[[], None]) -> bool:
    """Append what comes until it is worth handing on; True at the end of the body."""
    room, due = BLOCK, time.monotonic() + _PROMPT_S
    while room > 0 and time.monotonic() < due:
        piece = read(_READ)
        if not piece:
            return True
        came()
        pieces.append(piece)
        room -= len(piece)
    return False


def body(response: requests.Response, most: int) -> bytes:
    """A short body: ``most`` bytes of it, or one block more."""
    data = bytearray()
    for block in blocks(response, lambda: None):
        data += block
        if len(data) >= most:
            break
    return bytes(data)


def beginning(response: requests.Response, most: int) -> Iterator[bytes]:
    """The body for somebody who mostly wants its start: ``most`` bytes of it, the rest where it is asked for.

    Raises:
        Hiccup: the connection broke.
    """
    try:
        yield response.raw.read(most)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise failure(error, host_of(response.url)) from None
    yield from blocks(response, lambda: None)


def failure(error: Exception, host: str) -> SourceError:
    """An exception of requests or urllib3 in words of our own."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return SourceError(f"{host}: its certificate is not trusted", hint=_TLS_HINT, host_down=True)
    if type(error) is OSError:  # before any connection, requests looks for the bundle
        return SourceError("the bundle of trusted certificates cannot be read", hint="look at REQUESTS_CA_BUNDLE")
    for kinds, make, words in _FAILURES:
        if isinstance(error, kinds):
            return make(f"{host}: {words}")
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(reason, urllib3.exceptions.NewConnectionError):  # no such name, or refused
        return Unreachable(f"{host}: cannot connect")
    return Hiccup(f"{host}: the connection broke")


_TLS_HINT = "behind a proxy that ends TLS, set REQUESTS_CA_BUNDLE to its certificate"
_FAILURES: tuple[tuple[tuple[type[Exception], ...], type[SourceError], str], ...] = (
    ((requests.exceptions.SSLError,), Unreachable, "no TLS connection"),
    ((requests.exceptions.ProxyError,), Unreachable, "no connection through the proxy in HTTPS_PROXY"),
    ((requests.exceptions.ConnectTimeout,), Unreachable, "no connection in time"),
    ((requests.exceptions.ReadTimeout,), Unreachable, "no answer in time"),
    ((urllib3.exceptions.TimeoutError,), Hiccup, "the connection stalled"),
    (
        (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, urllib3.exceptions.LocationValueError),
        SourceError,
        "malformed address of the host, or of the proxy in HTTPS_PROXY",
    ),
)


def refusal(response: requests.Response) -> SourceError:
    """The error of an answer that is no success: its status in words, and when to come back."""
    host, status = host_of(response.url), response.status_code
    wait_s = retry_after_s(response.headers)
    later = f"; try again in {format_duration(wait_s)}" if wait_s else ""
    message = f"{host}: {status_words(status)}{later}"
    if status in _PASSING:
        return Hiccup(message, retry_after_s=wait_s, host_down=True)
    return SourceError(message, permanent=400 <= status < 500)


def status_words(status: int) -> str:
    """``404 Not Found``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The ``Retry-After`` header, given in seconds or as a date; None where there is none to understand."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def length_of(response: requests.Response) -> int | None:
    """``Content-Length``, where it counts the bytes that will be read."""
    text = response.headers.get("Content-Length", "")
    coded = "Transfer-Encoding" in response.headers or encoded(response)
    return int(text) if text.isascii() and text.isdigit() and not coded else None


def encoded(response: requests.Response) -> bool:
    """True where the body came compressed although it was not to be."""
    return response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")


def host_of(url: str | None) -> str:
    """The host's name alone: addresses carry keys, tokens and file names."""
    return urlsplit(url or "").hostname or "no host"
