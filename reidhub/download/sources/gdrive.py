"""Reads files from Google Drive with the library gdown, because Google's web pages change often.

gdown runs in its own process and writes the file into a pipe, so it leaves no file on the disk. `gdown_process`
describes the limits of this process.
"""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from io import BufferedReader
from subprocess import PIPE, Popen
from typing import cast
from urllib.parse import parse_qs, urlsplit

from reidhub.download.sources import Resume, Stream, gdown_process
from reidhub.download.sources.failures import name_web_host
from reidhub.download.sources.http import Session, describe_refusal, read_length
from reidhub.download.sources.patience import PATIENCE, Patience, TransientError, UnreachableError
from reidhub.download.sources.retry import Attempts
from reidhub.errors import CancelledError, IntegrityError, SourceError
from reidhub.files.sniff import PAGE, read_title, refuse_pages

_ID = re.compile(r"[A-Za-z0-9_-]{10,100}")
_PATH = re.compile(r"/file(?:/u/\d+)?/d/([^/]+)(?:/(?:view|edit|preview))?/?")
_FRONT = "drive.google.com"
_HOSTS = (_FRONT, "docs.google.com", "drive.usercontent.google.com")
_SIGN_IN = "accounts.google.com"
_QUOTA_HINT = "Google lifts the quota of a file after about a day"
_BLOCK = 256 * 1024  # bytes
_STOP_S = 0.1  # time between two checks of the stop event


@contextmanager
def open_stream(location: str, *, resume: Resume | None = None, patience: Patience = PATIENCE) -> Iterator[Stream]:
    """Open a link to a file on Google Drive; see `reidhub.download.sources.SourceModule`.

    A download from Google Drive cannot resume: it always starts at the first byte.

    Raises:
        SourceError: the link is malformed, or Google sends a web page instead of the file; the message quotes the page.
    """
    file_id, attempts = parse_id(location), Attempts(patience)

    def limit_rest() -> Patience:
        return replace(patience, total_s=attempts.deadline.find_time_left())

    def attempt() -> Stream:
        try:
            return stack.enter_context(_run_gdown(file_id, limit_rest()))
        except _NoFileError as error:
            raise _find_reason(file_id, limit_rest(), str(error)) from error

    with ExitStack() as stack:
        yield attempts.repeat(attempt)


def probe(location: str, *, patience: Patience = PATIENCE) -> int | None:
    """Ask Google Drive for the first bytes of a file and return its size; see `reidhub.download.sources.SourceModule`.

    Raises:
        SourceError: the link is malformed, or Google sends a web page instead of the file; the message quotes the page.
    """
    file_id = parse_id(location)
    with Session(patience) as http:
        return http.attempts.repeat(lambda: _ask_for_file(http, file_id))


def parse_id(location: str) -> str:
    """Return the file id in a Google Drive link of any format.

    Raises:
        SourceError: the link is not on Google Drive, or does not hold exactly one file id. The error is permanent.
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


class _NoFileError(Exception):
    """gdown ended before it sent a byte. The message is the type of gdown's exception, or gdown's exit status."""


@contextmanager
def _run_gdown(file_id: str, patience: Patience) -> Iterator[Stream]:
    """Start gdown and yield its `Stream` after the first bytes; the end of the ``with`` block kills the process."""
    limits = (patience.connect_s, patience.read_s, patience.first_byte_s, patience.total_s)
    command = [sys.executable, "-P", gdown_process.__file__, file_id, *map(str, limits)]
    try:
        process = Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    except OSError as error:
        raise SourceError(f"gdown cannot be started: {error.strerror}") from None
    watch = threading.Thread(target=_kill_when_stopped, args=(process, patience.stop), daemon=True)
    watch.start()
    with process:
        try:
            line = cast(BufferedReader, process.stdout).readline().strip()
            size = int(line) if line.isdigit() else None
            yield Stream(refuse_pages(_read_chunks(process, size, patience.stop)), size=size)
        finally:
            process.kill()
            watch.join()


def _kill_when_stopped(process: Popen[bytes], stop: threading.Event) -> None:
    while process.poll() is None and not stop.wait(_STOP_S):
        pass
    process.kill()


def _read_chunks(process: Popen[bytes], size: int | None, stop: threading.Event) -> Iterator[bytes]:
    """Yield the file from gdown's output; at the end, raise an error if the file is not complete."""
    held = 0
    while chunk := cast(BufferedReader, process.stdout).read1(_BLOCK):
        held += len(chunk)
        yield chunk
    if process.wait() == 0:
        if size not in (None, held):
            raise IntegrityError(f"expected {size} bytes, got {held}")
        return
    if stop.is_set():
        raise CancelledError("the download was stopped")
    if process.returncode == gdown_process.LATE:
        raise SourceError("not done in time" if held else "Google led to no file in time")
    words = cast(BufferedReader, process.stderr).read().decode("utf-8", "replace").split()
    reason = words[-1] if words else f"exit status {process.returncode}"
    if not held:
        raise _NoFileError(reason)
    ended = "Google ended the file early" if reason == "DownloadError" else f"{_FRONT}: the connection broke"
    error = TransientError(ended)
    error.add_position(held, size)
    raise error


def _find_reason(file_id: str, patience: Patience, exception: str) -> SourceError:
    """Ask Google again and return the error that says why gdown got no file; gdown itself does not tell the reason."""
    try:
        with Session(replace(patience, attempts=1)) as http:
            _ask_for_file(http, file_id)
    except UnreachableError as error:  # gdown made the first attempt already
        return SourceError(error.message, hint=error.hint, host_down=error.host_down)
    except SourceError as error:
        return error
    return TransientError(f"gdown got no file ({exception}), but Google offers it")


def _ask_for_file(http: Session, file_id: str) -> int | None:
    """Ask Google for the file without gdown, read only the first bytes, and return the size.

    Raises:
        SourceError: Google sends a web page or cannot be reached; a `TransientError` if another attempt may help.
        IntegrityError: Google announces the file, but sends a web page or no bytes.
    """
    past_form = f"https://{_FRONT}/uc?id={file_id}&export=download&confirm=t"  # skips the form before large files
    with http.follow(past_form) as response:
        if response.status_code != 200:
            raise describe_refusal(response)
        if "Content-Disposition" not in response.headers:
            raise _explain_page(http.read_start(response, PAGE), name_web_host(response.url))
        refuse_pages(http.read_blocks(response))
        return read_length(response)


def _explain_page(page: bytes, host: str) -> SourceError:
    """Return the error for a web page that came instead of the file; the message has the title of the page."""
    words = read_title(page).removeprefix("Google Drive - ")
    quoted = f' ("{words}")' if words else ""
    if host == _SIGN_IN:
        return SourceError(f"Google asks for a sign-in{quoted}; the file is not shared with everybody", permanent=True)
    hint = _QUOTA_HINT if "quota" in words.lower() else None
    return SourceError(f"expected the file, got {len(page)} bytes of text/html{quoted}", hint=hint)
