"""Messages for failures of web hosts.

A message never contains the text of an exception, because some exceptions quote the proxy's address with its password.
A message never contains a whole URL, but only its host, because the rest may contain keys, tokens and file names.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import requests
from urllib3 import exceptions

from reidhub.download.sources.patience import NO_NETWORK, TransientError, UnreachableError, format_duration
from reidhub.errors import SourceError

RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed."""

_UNREACHABLE: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.SSLError, "no TLS connection"),
    (exceptions.ProxyError, "no connection through the proxy in HTTPS_PROXY"),
    (exceptions.NewConnectionError, "cannot connect"),  # the host name is unknown, or the host refuses the connection
    (exceptions.ConnectTimeoutError, "no connection in time"),
    (exceptions.TimeoutError, "no answer in time"),
)
_MALFORMED = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, exceptions.LocationValueError)
_TLS_HINT = "behind a proxy that ends TLS, set REQUESTS_CA_BUNDLE to its certificate"


def describe_failure(error: Exception, host: str) -> SourceError:
    """Return the `SourceError` for an exception that was raised before the host answered."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return SourceError(f"{host}: its certificate is not trusted", hint=_TLS_HINT, host_down=True)
    if type(error) is OSError:  # requests raises a plain OSError if the file of certificates is missing
        return SourceError("the bundle of trusted certificates cannot be read", hint="look at REQUESTS_CA_BUNDLE")
    if isinstance(error, _MALFORMED):
        return SourceError(f"{host}: malformed address of the host, or of the proxy in HTTPS_PROXY")
    cause = error.args[0] if isinstance(error, requests.RequestException) and error.args else error
    cause = cause.reason if isinstance(cause, exceptions.MaxRetryError) else cause
    for kind, words in _UNREACHABLE:
        if isinstance(cause, kind):
            return UnreachableError(f"{host}: {words}", hint=NO_NETWORK, host_down=True)
    return TransientError(f"{host}: the connection broke")


def describe_break(error: Exception, host: str) -> TransientError:
    """Return the error for a connection that broke or stalled while the body of an answer was read."""
    stalled = isinstance(error, exceptions.TimeoutError)
    return TransientError(f"{host}: the connection {'stalled' if stalled else 'broke'}")


def describe_status(host: str, status: int, headers: Mapping[str, str]) -> SourceError:
    """Return the error for an HTTP status that means failure, such as 404 or 503.

    If the headers contain ``Retry-After``, the message tells how long to wait.
    """
    wait_s = read_retry_after(headers)
    later = f"; try again in {format_duration(wait_s)}" if wait_s else ""
    message = f"{host}: {name_status(status)}{later}"
    if status in RETRY_STATUSES:
        return TransientError(message, retry_after_s=wait_s, host_down=True)
    return SourceError(message, permanent=400 <= status < 500)


def name_status(status: int) -> str:
    """Return an HTTP status with its name, such as ``404 Not Found``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait that the header ``Retry-After`` asks for; None if it is missing or malformed."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # OverflowError: a year of twenty digits
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def name_web_host(url: str | None) -> str:
    """Return the host name in a URL; ``no host`` if the URL has none or is malformed."""
    try:
        return urlsplit(url or "").hostname or "no host"
    except ValueError:
        return "no host"
