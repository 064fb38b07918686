"""Reads files from ``https:`` hosts, such as mirrors, release pages and Hugging Face."""

import os
import re
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from urllib.parse import urlsplit

import requests

from reidhub.download.sources import Resume, Stream
from reidhub.download.sources.failures import name_web_host
from reidhub.download.sources.http import NUMBER, Check, Session, check_https, describe_refusal, is_encoded, read_length
from reidhub.download.sources.patience import PATIENCE, Patience, TransientError
from reidhub.errors import IntegrityError, SourceError
from reidhub.files.sniff import HEAD, refuse_pages

_HUB = "https://huggingface.co"
_ENDPOINT = "HF_ENDPOINT"


def open_stream(
    location: str, *, resume: Resume | None = None, patience: Patience = PATIENCE
) -> AbstractContextManager[Stream]:
    """Open an ``https:`` URL; see `reidhub.download.sources.SourceModule`.

    The download resumes if the file on the host still has the same ETag or date, and the host can send a part of it.

    Raises:
        SourceError: the host does not give the file. The error is permanent if the URL is not ``https:``, and after
            most HTTP statuses 4xx, such as 404.
    """
    return open_checked(_replace_hub(location), Session(patience), check_https, resume)


@contextmanager
def open_checked(location: str, session: Session, check: Check, resume: Resume | None) -> Iterator[Stream]:
    """Open a URL, follow its redirects, and yield the `Stream`; ``check`` raises an error for a forbidden URL."""
    url = check(location, "")
    with session as http, ExitStack() as connection:
        download = _Download(http, url, check, connection)
        offset = download.open(resume)
        with closing(download.read()) as chunks:
            yield Stream(chunks, size=download.size, offset=offset, state=download.read_state())


class _Download:
    """The download of one file, with a new connection after each break.

    Attributes:
        size: bytes of the whole file; None if unknown.
    """

    def __init__(self, http: Session, url: str, check: Check, connection: ExitStack) -> None:
        self.size: int | None = None
        self._http = http
        self._url = url
        self._check = check
        self._connection = connection
        self._offset = 0  # position of the next new byte in the file
        self._skip = 0  # bytes before `_offset` that the host sends again
        self._validator: str | None = None  # ETag or date: parts of two versions of the file must not be joined

    def read_state(self) -> dict[str, str | int | None]:
        """Return what a later run needs to resume this download: the file's version and size; see `Stream.state`.

        The version is the ETag or the date that the host sends. Without a version, the result is empty, and the
        download cannot be resumed.
        """
        return {"validator": self._validator, "size": self.size} if self._validator else {}

    def open(self, resume: Resume | None) -> int:
        """Open the first connection, and return the position in the file at which `read` starts, in bytes."""
        if resume and resume.offset > 0 and isinstance(resume.state.get("validator"), str):
            size = resume.state.get("size")
            last = size - 1 if isinstance(size, int) and size > 1 else resume.offset
            self._offset, self._validator = min(resume.offset, last), resume.state["validator"]  # hosts refuse 0 bytes
        self._response = self._connect(is_first=True)
        return self._offset

    def read(self) -> Generator[bytes, None, None]:
        """Yield the rest of the file; if a connection breaks, request the missing bytes."""
        while True:
            try:
                for block in self._http.read_blocks(self._response):
                    fresh = block[self._skip :]
                    self._skip -= len(block) - len(fresh)
                    if fresh:
                        self._http.attempts.note_progress()
                        self._offset += len(fresh)
                        yield fresh
                return
            except TransientError as error:
                self._reconnect(error)

    def _reconnect(self, broken: TransientError) -> None:
        broken.add_position(self._offset, self.size)
        if self._validator is None:
            raise broken
        self._http.attempts.wait_after(broken)
        try:
            self._response = self._connect(is_first=False)
        except TransientError as error:
            error.add_position(self._offset, self.size)
            raise

    def _connect(self, *, is_first: bool) -> requests.Response:
        headers = {}
        if self._offset and self._validator:
            headers = {"Range": f"bytes={self._offset}-", "If-Range": self._validator}
        self._connection.close()
        answer = self._http.follow(self._url, lambda url: {**headers, **_find_token(url)}, self._check)
        response = self._connection.enter_context(answer)
        if response.status_code == 416 and headers:
            if not is_first:
                raise IntegrityError(f"the host announced {self.size} bytes and ends after {self._offset}")
            self._offset = 0
            return self._connect(is_first=True)
        _check_answer(response)
        if response.status_code == 206:
            self._accept_rest(response)
        else:
            self._accept_whole(response, is_first=is_first)
        return response

    def _accept_whole(self, response: requests.Response, *, is_first: bool) -> None:
        """Accept an answer that contains the whole file, although only the rest of it may be needed.

        A host sends the whole file if the request asked for it, if the host ignores ranges, or if the file has changed.
        If this is not the first connection, `read` skips the bytes that it has already yielded.

        Args:
            response: the answer.
            is_first: True for the first connection of this download.

        Raises:
            SourceError: the file has changed since the first connection.
        """
        validator = _read_validator(response)
        if is_first:
            self._offset, self._validator, self.size = 0, validator, read_length(response)
        elif validator == self._validator:
            self._skip = self._offset
        else:
            raise SourceError(f"{name_web_host(response.url)}: the file was replaced while it was read")

    def _accept_rest(self, response: requests.Response) -> None:
        text = response.headers.get("Content-Range", "")
        found = re.fullmatch(f"bytes ({NUMBER})-({NUMBER})/({NUMBER})", text)
        if found is None or int(found[1]) != self._offset or int(found[2]) + 1 != int(found[3]):
            raise IntegrityError(f"asked for the bytes from {self._offset} on, got {text[:60]!r}")
        if self.size not in (None, int(found[3])):
            raise IntegrityError(f"expected {self.size} bytes, the host now offers {found[3]}")
        self.size = int(found[3])


def _check_answer(response: requests.Response) -> None:
    if response.status_code not in (200, 206):
        raise describe_refusal(response)
    if is_encoded(response):
        raise SourceError(f"{name_web_host(response.url)}: the file came compressed, which was not asked for")


def _read_validator(response: requests.Response) -> str | None:
    """Return the header that identifies the file's version: a strong ETag, else ``Last-Modified``, else None."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _replace_hub(location: str) -> str:
    """Return the location with the user's mirror of the Hugging Face Hub, if there is one, in place of the Hub."""
    return _find_endpoint() + location.removeprefix(_HUB) if location.startswith(f"{_HUB}/") else location


def _find_endpoint() -> str:
    """Return the address of the user's mirror of the Hugging Face Hub, else of the Hub itself, without a final ``/``.

    The variable ``$HF_ENDPOINT`` names the mirror, as for the package huggingface_hub.

    Raises:
        SourceError: the variable is not an ``https:`` address.
    """
    endpoint = os.environ.get(_ENDPOINT, "").strip().rstrip("/")
    if not endpoint:
        return _HUB
    try:
        parts = urlsplit(check_https(endpoint))
        if parts.query or parts.fragment:
            raise ValueError
    except (SourceError, ValueError):
        hint = "set it to an address such as https://host/path, without a password"
        raise SourceError(f"${_ENDPOINT} is not an https address", hint=hint, permanent=True) from None
    return endpoint


def _find_token(url: str) -> dict[str, str]:
    """Return the header with ``$HF_TOKEN`` for a URL of Hugging Face or of the host in ``$HF_ENDPOINT``; else none."""
    token, hubs = os.environ.get("HF_TOKEN", "").strip(), [_HUB]
    with suppress(SourceError):  # `_replace_hub` reports it, but only for a file of the Hub
        hubs.append(_find_endpoint())
    if not token or urlsplit(url)[:2] not in [urlsplit(hub)[:2] for hub in hubs]:
        return {}
    if not (token.isascii() and token.isprintable()):
        raise SourceError("HF_TOKEN holds characters that no token has", permanent=True)
    return {"Authorization": f"Bearer {token}"}


def probe(location: str, *, patience: Patience = PATIENCE) -> int | None:
    """Return the size of the file at an ``https:`` URL, in bytes; see `reidhub.download.sources.probe`.

    Raises:
        SourceError: the host does not give the file.
    """
    return probe_checked(_replace_hub(location), Session(patience), check_https)


def probe_checked(location: str, session: Session, check: Check) -> int | None:
    """Read the first bytes at a URL and return the file's size; ``check`` raises an error for a forbidden URL."""
    url = check(location, "")
    with session as http:
        return http.attempts.repeat(lambda: _ask_for_start(http, url, check))


def _ask_for_start(http: Session, url: str, check: Check) -> int | None:
    start = {"Range": f"bytes=0-{HEAD - 1}"}
    with http.follow(url, lambda at: {**start, **_find_token(at)}, check) as response:
        _check_answer(response)
        refuse_pages(http.read_blocks(response))
        if response.status_code == 200:
            return read_length(response)
        found = re.fullmatch(f"bytes 0-{NUMBER}/({NUMBER})", response.headers.get("Content-Range", ""))
        return int(found[1]) if found else None
