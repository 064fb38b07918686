"""Google Drive, by way of gdown: Google's pages change, and gdown is kept up with them.

gdown writes into a queue here, not into a file: no name that Google sends is used, and nothing is left behind. It is
always called with a file's id, for with other addresses it takes a page for the file.
"""

import queue
import re
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from typing import BinaryIO, Self, cast
from urllib.parse import parse_qs, urlsplit

import requests
import urllib3

from reidhub.download.sources import Claim, Resume, Stream
from reidhub.download.sources.failures import describe_break, describe_failure, name_web_host
from reidhub.download.sources.http import Session, describe_refusal, read_length
from reidhub.download.sources.patience import PATIENCE, Patience, TransientError
from reidhub.download.sources.retry import Attempts
from reidhub.errors import IntegrityError, SourceError
from reidhub.files.sniff import PAGE, looked_at, page_words

_ID = re.compile(r"[A-Za-z0-9_-]{10,100}")
_PATH = re.compile(r"/file(?:/u/\d+)?/d/([^/]+)(?:/(?:view|edit|preview))?/?")
_HOSTS = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")
_FRONT = "drive.google.com"
_SIGN_IN = "accounts.google.com"

_WAITING = 8  # chunks of 512 KiB that gdown may be ahead of the reader
_REQUESTS = 20  # to Google, for one file: a direct one takes 2, one behind a form 3
_GRACE_S = 2.0  # for gdown to notice that its time is over


@contextmanager
def open_stream(location: str, *, resume: Resume | None = None, patience: Patience = PATIENCE) -> Iterator[Stream]:
    """Open a link to a file on Google Drive; see `reidhub.download.sources.Opener`. Always starts at offset 0.

    Raises:
        SourceError: the link is malformed, or Google shows a page instead of the file; its own words are quoted.
    """
    file_id = id_of(location)
    attempts = Attempts(patience)
    with ExitStack() as stack:
        transfer, chunks = _begun(file_id, attempts, stack)
        yield Stream(chunks, size=transfer.size)


def _begun(file_id: str, attempts: Attempts, stack: ExitStack) -> tuple["_Transfer", Iterator[bytes]]:
    """A transfer whose first bytes have come."""
    while True:
        transfer = stack.enter_context(_Transfer(file_id, attempts.patience))
        try:
            return transfer, looked_at(stack.enter_context(closing(transfer.chunks())))
        except TransientError as error:
            stack.close()
            attempts.wait_after(error)


def id_of(location: str) -> str:
    """The file's id in any of Drive's forms of address.

    Raises:
        SourceError: there is no single one; permanent.
    """
    try:
        url = urlsplit(location)
    except ValueError:
        url = urlsplit("")
    if url.scheme not in ("http", "https") or url.netloc not in _HOSTS:
        raise SourceError("malformed Drive link: it does not lead to drive.google.com", permanent=True)
    path = _PATH.fullmatch(url.path)
    ids = [path[1]] if path else parse_qs(url.query).get("id", [])
    known = path or url.path in ("/uc", "/open", "/download")
    if not known or len(ids) != 1 or not _ID.fullmatch(ids[0]):
        raise SourceError("malformed Drive link: it holds no single file id", permanent=True)
    return ids[0]


class _Leash(threading.Event):
    """gdown's cancel event: set by hand, or by the clock."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.end = time.monotonic() + seconds

    def is_set(self) -> bool:
        return super().is_set() or time.monotonic() > self.end


class _CountedTimeout(urllib3.Timeout):
    """A timeout that urllib3 copies for each request, which counts them: gdown follows confirm pages without end."""

    def __init__(self, patience: Patience, leash: _Leash) -> None:
        super().__init__(connect=patience.connect_s, read=patience.read_s)
        self._leash = leash
        self._copies = 0

    def clone(self) -> urllib3.Timeout:
        self._copies += 1
        if self._copies > 2 * _REQUESTS:  # two copies for each request
            self._leash.set()
        return super().clone()


class _Pipe:
    """Takes what gdown writes in its thread and gives it to the reader's; never holds more than a few chunks.

    Attributes:
        size: bytes, as Google says once the first ones have come; None where it does not.
    """

    def __init__(self) -> None:
        self.size: int | None = None
        self._queue: queue.Queue[bytes | Exception | None] = queue.Queue(_WAITING)
        self._written = b""
        self._closed = threading.Event()

    def write(self, chunk: bytes) -> int:
        """Called by gdown for each chunk, before `progress` tells the size."""
        self._written = chunk
        return len(chunk)

    def flush(self) -> None:
        """Called by gdown; nothing is held back."""

    def progress(self, _held: int, size: int | None) -> None:
        """Called by gdown behind each `write`."""
        self.size = size
        self.put(self._written)

    def put(self, item: bytes | Exception | None) -> None:
        """Hand on a chunk, the end (None), or the error in its place; wait for the reader, as long as there is one."""
        while not self._closed.is_set():
            try:
                return self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
        raise InterruptedError("the reader has left")

    def get(self, until: float) -> bytes | None:
        """The next chunk, or None at the end; raises what stands in its place, `queue.Empty` past ``until``."""
        item = self._queue.get(timeout=max(0.0, until - time.monotonic()))
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        """The reader leaves."""
        self._closed.set()


class _Transfer:
    """gdown at work in a thread of its own, until the ``with`` block is left."""

    def __init__(self, file_id: str, patience: Patience) -> None:
        self._id = file_id
        self._patience = patience
        self._leash = _Leash(patience.first_byte_s)
        self._pipe = _Pipe()
        self._thread = threading.Thread(target=self._work, name="reidhub-gdrive", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._leash.set()
        self._pipe.close()
        self._thread.join(_GRACE_S)

    @property
    def size(self) -> int | None:
        """Bytes, as Google says with the first ones."""
        return self._pipe.size

    def chunks(self) -> Generator[bytes, None, None]:
        """The file.

        Raises:
            SourceError: it does not come, or not to its end; a `TransientError` where another attempt makes sense.
        """
        held = 0
        while chunk := self._next(held):
            if not held:
                self._leash.end = time.monotonic() + self._patience.total_s
            held += len(chunk)
            yield chunk
        if self.size not in (None, held):
            raise IntegrityError(f"expected {self.size} bytes, got {held}")

    def _next(self, held: int) -> bytes | None:
        from gdown.exceptions import DownloadCancelled, DownloadError, FileURLRetrievalError

        try:
            return self._pipe.get(self._leash.end + _GRACE_S)
        except (DownloadCancelled, queue.Empty):
            if time.monotonic() > self._leash.end:
                raise SourceError("not done in time" if held else "Google led to no file in time") from None
            raise _page_instead(self._id, self._patience) from None  # one page after another
        except (FileURLRetrievalError, requests.HTTPError):
            raise _page_instead(self._id, self._patience) from None
        except DownloadError:
            raise _placed(TransientError("Google ended the file early"), held, self.size) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            describe = describe_break if held else describe_failure
            raise _placed(describe(error, _FRONT), held, self.size) from None
        except Exception as error:  # gdown reads pages by pattern, and falls over new ones in many ways
            raise _page_instead(self._id, self._patience) from error

    def _work(self) -> None:
        with suppress(InterruptedError):
            try:
                self._download()
            except Exception as error:
                self._pipe.put(error)
            else:
                self._pipe.put(None)

    def _download(self) -> None:
        import gdown  # slow to import, and no other source needs it

        gdown.download(
            id=self._id,
            output=cast(BinaryIO, self._pipe),
            quiet=True,
            use_cookies=False,
            progress=self._pipe.progress,
            timeout=cast(float, _CountedTimeout(self._patience, self._leash)),
            retries=0,
            cancel=self._leash,
        )


def _placed(error: SourceError, held: int, size: int | None) -> SourceError:
    if isinstance(error, TransientError):
        error.add_position(held, size)
    return error


def _page_instead(file_id: str, patience: Patience) -> SourceError:
    """The error for a page in the file's place, in the page's own words; gdown drops them, so it is read once more."""
    try:
        with Session(replace(patience, attempts=1)) as http, http.follow(_confirmed(file_id)) as response:
            if response.status_code != 200:
                return describe_refusal(response)
            if "Content-Disposition" in response.headers:
                return TransientError("Google showed a page, and the file a moment later")
            page = http.read_start(response, PAGE)
            return _page_error(page, name_web_host(response.url))
    except SourceError as error:
        return error


def _page_error(page: bytes, host: str) -> SourceError:
    words = page_words(page).removeprefix("Google Drive - ")
    quoted = f' ("{words}")' if words else ""
    if host == _SIGN_IN:
        return SourceError(f"Google asks for a sign-in{quoted}; the file is not shared with everybody", permanent=True)
    hint = _QUOTA_HINT if "quota" in words.lower() else None
    return SourceError(f"expected the file, got {len(page)} bytes of text/html{quoted}", hint=hint)


_QUOTA_HINT = "Google lifts the quota of a file after about a day"


def _confirmed(file_id: str) -> str:
    """The address that leads past the form in front of a large file."""
    return f"https://{_FRONT}/uc?id={file_id}&export=download&confirm=t"


def probe(location: str, *, patience: Patience = PATIENCE) -> Claim:
    """Follow a link to a file on Google Drive to the file's headers; see `reidhub.download.sources.Prober`.

    Raises:
        SourceError: the link is malformed, or Google shows a page instead of the file; its own words are quoted.
    """
    url = _confirmed(id_of(location))
    with Session(patience) as http:
        return http.attempts.repeat(lambda: _first_look(http, url))


def _first_look(http: Session, url: str) -> Claim:
    with http.follow(url) as response:
        if response.status_code != 200:
            raise describe_refusal(response)
        if "Content-Disposition" not in response.headers:
            raise _page_error(http.read_start(response, PAGE), name_web_host(response.url))
        looked_at(http.read_blocks(response))
        return Claim(read_length(response))
