"""Asks Mega's API for public files. The API's command ``g`` returns the size of a file and a URL to download it."""

import json
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from reidhub.download.sources.http import Session, check_https, describe_refusal
from reidhub.download.sources.mega.hashcash import solve
from reidhub.download.sources.patience import TransientError, format_duration
from reidhub.errors import SourceError
from reidhub.files.sniff import read_title

_API = "https://g.api.mega.co.nz/cs"
_LONGEST_ANSWER = 64 * 1024  # bytes; a normal answer has a few hundred

# Error codes from Mega's official SDK (include/mega/types.h), with messages for the user.
_TRANSIENT = {
    -3: "the API asks to try again",
    -4: "the API gets too many requests from here",
    -6: "the API gets too many requests for this file",
    -18: "the file is not available for the moment",
    -19: "too many connections from here",
}
_OF_ONE_FILE = {-6, -18}
_PERMANENT = {
    -2: "the API takes the file's handle for malformed",
    -9: "no such file; it was removed, or the link is wrong",
    -11: "access to the file is denied",
    -14: "the file's key is wrong",
    -15: "the API wants a session",
    -16: "the file is blocked, or its owner is",
}
_QUOTA = -17
_LONGEST_S = 10**9  # limit on a wait; a float cannot hold every int
_LARGEST = 10**18  # bytes; an answer with a larger size is no offer
_LOWEST = -(10**6)  # an answer with a lower number is no error code; the real codes are above -100

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Offer:
    """Mega's answer for a file: its ``size`` in bytes, and a ``url`` to download it, which expires later."""

    size: int
    url: str


class Api:
    """Asks Mega's API for the URL of a file; repeats the request after a temporary failure, while attempts are left."""

    def __init__(self, http: Session) -> None:
        self._http = http
        self._request_id = random.randrange(1 << 31)
        self._proof: dict[str, str] = {}

    def locate(self, handle: str) -> Offer:
        """Ask for the size and the current URL of a file.

        Raises:
            SourceError: the file is gone (a permanent error), it is not available now (``retry_after_s`` is set if Mega
                names a time), or no answer came.
        """
        self._request_id += 1  # each question gets a new id; a repeated request keeps the id
        return self._http.attempts.repeat(lambda: _read_offer(self._ask(handle)))

    def _ask(self, handle: str) -> Any:
        url = f"{_API}?id={self._request_id}"
        question = [{"a": "g", "g": 1, "ssl": 2, "p": handle}]
        with self._http.open("POST", url, json=question, headers=self._proof) as response:
            self._proof = {}
            if response.status_code == 402:
                self._do_proof_of_work(response.headers)
            if response.status_code == 509:
                raise describe_quota(response.headers)
            if response.status_code != 200:
                raise describe_refusal(response)
            return _parse_json(self._http.read_start(response, _LONGEST_ANSWER))

    def _do_proof_of_work(self, headers: Mapping[str, str]) -> None:
        """Solve Mega's puzzle and keep the solution for the next request.

        Raises:
            TransientError: always, so that the request is repeated.
            SourceError: the puzzle is malformed, or was not solved in time.
        """
        attempts = self._http.attempts
        limit_s = attempts.patience.puzzle_s
        _log.warning("Mega asks for a proof of work; that takes at most %s", format_duration(limit_s))
        self._proof = {"X-Hashcash": solve(headers.get("X-Hashcash", ""), limit_s, attempts.deadline.check)}
        raise TransientError("Mega asks for one proof of work after another")


def describe_quota(headers: Mapping[str, str]) -> SourceError:
    """Return the error for the HTTP status 509: the download quota of this IP address is used up."""
    text = headers.get("X-MEGA-Time-Left", "")
    return _describe_quota(int(text[:9]) if text.isascii() and text.isdigit() else None)


def _describe_quota(wait_s: int | None) -> SourceError:
    """Return the error for a used-up quota: a `TransientError` if Mega tells how long to wait, else a `SourceError`."""
    when = f"in {format_duration(wait_s)}" if wait_s else "in some hours"
    kind = TransientError if wait_s else SourceError
    return kind(f"quota of this address is used up; try again {when}", retry_after_s=wait_s, host_down=True)


def _parse_json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        words = read_title(text)
        page = f' ("{words}")' if words else ""
        raise SourceError(f"the API answered with {len(text)} bytes that are no JSON{page}") from None


def _read_offer(parsed: Any) -> Offer:
    """Return the `Offer` in an answer of Mega's API, or raise the error that the answer contains.

    An answer is ``<code>``, ``{"err": <code>}`` or ``{"e": <code>}`` for an error, or ``{"s": <size>, "g": <url>}`` for
    an offer. Each of these may also be the only item of a list.

    Raises:
        SourceError: the answer holds an error code, or no valid offer.
    """
    found = parsed[0] if isinstance(parsed, list) and len(parsed) == 1 else parsed
    if isinstance(found, dict):
        code = found.get("err", found.get("e"))
        if _is_code(code):
            raise _describe_code(code, found.get("tl"))
        size, url = found.get("s"), found.get("g")
        if type(size) is int and 0 <= size < _LARGEST and isinstance(url, str):
            try:
                return Offer(size, check_https(url))
            except SourceError:
                message = "Mega offers an address that is malformed or without TLS, which is not followed"
                raise SourceError(message) from None
    if _is_code(found):
        raise _describe_code(found, None)
    raise SourceError("the API's answer names neither a file nor an error")


def _is_code(value: Any) -> TypeGuard[int]:
    return type(value) is int and _LOWEST < value < 0


def _describe_code(code: int, wait_s: Any) -> SourceError:
    if code == _QUOTA:
        return _describe_quota(min(wait_s, _LONGEST_S) if type(wait_s) is int and wait_s > 0 else None)
    if code in _TRANSIENT:
        return TransientError(f"{_TRANSIENT[code]} (error {code})", host_down=code not in _OF_ONE_FILE)
    return SourceError(f"{_PERMANENT.get(code, 'the API refuses')} (error {code})", permanent=code in _PERMANENT)
