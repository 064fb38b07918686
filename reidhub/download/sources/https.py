"""Files on plain web hosts: mirrors, release pages, Hugging Face."""

import os
import re
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from urllib.parse import urlsplit

import requests

from reidhub.download.sources import Claim, Resume, Stream
from reidhub.download.sources.http import (
    Check,
    beginning,
    blocks,
    checked,
    encoded,
    followed,
    host_of,
    length_of,
    refusal,
    session,
)
from reidhub.download.sources.retry import PATIENCE, Attempts, Hiccup, Patience, retried
from reidhub.errors import IntegrityError, SourceError
from reidhub.files.sniff import HEAD, looked_at

_TOKEN_HOST = "huggingface.co"


def open_stream(
    location: str, *, resume: Resume | None = None, patience: Patience = PATIENCE
) -> AbstractContextManager[Stream]:
    """Open an ``https:`` URL; see `reidhub.download.sources.Opener`.

    A resume is granted where the host names the file by the same ETag or date as before, and sends a range.

    Raises:
        SourceError: the host does not give the file; permanent for 401, 403, 404, 410 and addresses without TLS.
    """
    return opened(location, resume=resume, patience=patience, check=checked)


@contextmanager
def opened(location: str, *, resume: Resume | None, patience: Patience, check: Check) -> Iterator[Stream]:
    """Open a URL that ``check`` lets pass, and follow redirects that it lets pass."""
    url = check(location, "")
    with session() as http, ExitStack() as connection:
        download = _Download(http, url, check, Attempts(patience), connection)
        offset = download.open(resume)
        with closing(download.chunks()) as chunks:
            yield Stream(
                chunks if offset else looked_at(chunks), size=download.size, offset=offset, state=download.state
            )


class _Download:
    """One file over as many connections as it takes."""

    def __init__(
        self, http: requests.Session, url: str, check: Check, attempts: Attempts, connection: ExitStack
    ) -> None:
        self._http = http
        self._url = url
        self._check = check
        self._attempts = attempts
        self._connection = connection
        self._at = 0  # bytes of the file that are held
        self._skip = 0  # bytes to come that are held already
        self._validator: str | None = None
        self.size: int | None = None

    def state(self) -> dict[str, str | int | None]:
        return {"validator": self._validator, "size": self.size} if self._validator else {}

    def open(self, resume: Resume | None) -> int:
        """The first connection that stands; where in the file it starts."""
        if resume and resume.offset > 0 and isinstance(resume.state.get("validator"), str):
            size = resume.state.get("size")
            last = size - 1 if isinstance(size, int) and size > 1 else resume.offset
            self._at, self._validator = min(resume.offset, last), resume.state["validator"]  # no host sends 0 bytes
        self._response = self._connected(starts_over=True)
        return self._at

    def chunks(self) -> Generator[bytes, None, None]:
        while True:
            try:
                for block in blocks(self._response, self._came):
                    fresh = block[self._skip :]
                    self._skip -= len(block) - len(fresh)
                    self._at += len(fresh)
                    yield fresh
                return
            except Hiccup as error:
                self._reconnect(error.after(self._at, self.size))

    def _came(self) -> None:
        if self._skip:
            self._attempts.check_time()
        else:
            self._attempts.progressed()

    def _reconnect(self, error: Hiccup) -> None:
        if self._validator is None:  # nothing would tell that the rest belongs to the same file
            raise error
        self._attempts.again(error)
        self._response = self._connected(starts_over=False)

    def _connected(self, *, starts_over: bool) -> requests.Response:
        while True:
            try:
                return self._connect(starts_over=starts_over)
            except Hiccup as error:
                self._attempts.again(error.after(self._at, self.size))

    def _connect(self, *, starts_over: bool) -> requests.Response:
        headers = {}
        if self._at and self._validator:
            headers = {"Range": f"bytes={self._at}-", "If-Range": self._validator}
        self._connection.close()
        answered = followed(
            self._http, self._url, self._attempts.patience, lambda url: {**headers, **_token_for(url)}, self._check
        )
        response = self._connection.enter_context(answered)
        if response.status_code == 416 and headers:
            if not starts_over:
                raise IntegrityError(f"the host announced {self.size} bytes and ends after {self._at}")
            self._at = 0
            return self._connect(starts_over=True)
        if response.status_code not in (200, 206):
            raise refusal(response)
        if encoded(response):
            raise SourceError(f"{host_of(response.url)}: the file came compressed, which was not asked for")
        if response.status_code == 206:
            self._check_range(response)
        else:
            self._take_whole(response, starts_over=starts_over)
        return response

    def _take_whole(self, response: requests.Response, *, starts_over: bool) -> None:
        """An answer from the beginning: a range was not asked for, is not granted, or the file is another one now."""
        validator = _validator(response)
        if starts_over:
            self._at, self._validator, self.size = 0, validator, length_of(response)
        elif validator == self._validator:
            self._skip = self._at
        else:
            raise SourceError(f"{host_of(response.url)}: the file was replaced while it was read")

    def _check_range(self, response: requests.Response) -> None:
        text = response.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", text)
        if found is None or int(found[1]) != self._at or int(found[2]) + 1 != int(found[3]):
            raise IntegrityError(f"asked for the bytes from {self._at} on, got {text[:60]!r}")
        if self.size not in (None, int(found[3])):
            raise IntegrityError(f"expected {self.size} bytes, the host now offers {found[3]}")
        self.size = int(found[3])


def _validator(response: requests.Response) -> str | None:
    """What names this state of the file: a strong ETag, else the date."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _token_for(url: str) -> dict[str, str]:
    """The user's token, for the one host it belongs to; redirects lead elsewhere without it."""
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token or urlsplit(url)[:2] != ("https", _TOKEN_HOST):
        return {}
    if not (token.isascii() and token.isprintable()):
        raise SourceError("HF_TOKEN holds characters that no token has", permanent=True)
    return {"Authorization": f"Bearer {token}"}


def probe(location: str, *, patience: Patience = PATIENCE) -> Claim:
    """Ask an ``https:`` URL for its first bytes; see `reidhub.download.sources.Prober`.

    Raises:
        SourceError: the host does not give the file.
    """
    return probed(location, patience=patience, check=checked)


def probed(location: str, *, patience: Patience, check: Check) -> Claim:
    """Ask a URL that ``check`` lets pass, and where it redirects to, for the first bytes."""
    url = check(location, "")
    with session() as http:
        return retried(lambda: _first_look(http, url, check, patience), patience)


def _first_look(http: requests.Session, url: str, check: Check, patience: Patience) -> Claim:
    few = {"Range": f"bytes=0-{HEAD - 1}"}
    with followed(http, url, patience, lambda at: {**few, **_token_for(at)}, check) as response:
        if response.status_code not in (200, 206):
            raise refusal(response)
        if encoded(response):
            raise SourceError(f"{host_of(response.url)}: the file comes compressed, which was not asked for")
        looked_at(beginning(response, HEAD))
        if response.status_code == 200:
            return Claim(length_of(response))
        found = re.fullmatch(r"bytes 0-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return Claim(int(found[1]) if found else None)
