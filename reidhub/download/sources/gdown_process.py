"""Download one file of Google Drive with gdown and write it to standard output.

`reidhub.download.sources.gdrive` runs this file as a program, by its path: it imports nothing of reidhub.

gdown reads a web page whole, however long it is, and follows one confirmation page after another. In a process of its
own its memory, its requests and its time can be limited, and it can be killed at any moment. It writes no file.

Standard output is one line with the size in bytes (empty where Google does not tell it), then the file. After a
failure, standard error ends with the type of the exception. Its text is left out: it may quote a proxy's password.
"""

import io
import os
import sys
import threading
from contextlib import suppress
from typing import Any

LATE = 3
"""Exit status of a process whose time is over."""

_MEMORY = 128 << 20  # bytes; gdown allocates 45 MiB for a file of any size
_REQUESTS = 40  # with those to the proxy; a file without a form takes 4, one behind a form 6


def main(file_id: str, connect_s: float, read_s: float, first_byte_s: float, total_s: float) -> None:
    """Download the file with this id; `Patience` describes the four times."""
    _limit_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    deadline = _end_after(first_byte_s)
    import gdown  # under the limits

    chunk = io.BytesIO()

    def pass_on(received: int, size: int | None) -> None:
        data = chunk.getvalue()  # gdown has just written it
        if received == len(data):
            deadline.cancel()
            _end_after(total_s)
            sys.stdout.buffer.write(b"%d\n" % size if size is not None else b"\n")
        sys.stdout.buffer.write(data)
        chunk.seek(0)
        chunk.truncate()

    gdown.download(
        id=file_id,  # given an address of another form, gdown saves a page as if it were the file
        output=chunk,
        progress=pass_on,
        quiet=True,
        use_cookies=False,
        timeout=(connect_s, read_s),
        retries=0,  # gdown can retry only with a file on the disk; `gdrive` does it instead
        cancel=_cancel_after_requests(),
    )


def _limit_memory() -> None:
    """Let an allocation fail beyond `_MEMORY`. Only Linux counts everything that a process allocates."""
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limit; a lower one may be set already
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, most))


def _end_with_parent() -> None:
    """End this process when its parent ends, however that happens: standard input closes then."""
    os.read(0, 1)
    os._exit(1)


def _end_after(seconds: float) -> threading.Timer:
    """End this process after that time, unless the timer is cancelled."""
    timer = threading.Timer(seconds, os._exit, [LATE])
    timer.daemon = True
    timer.start()
    return timer


def _cancel_after_requests() -> threading.Event:
    """Return an event for gdown's ``cancel``; it is set when the process has sent `_REQUESTS` requests."""
    cancel = threading.Event()
    left = iter(range(_REQUESTS))

    def count(event: str, _: tuple[Any, ...]) -> None:
        if event == "http.client.send" and next(left, None) is None:
            cancel.set()

    sys.addaudithook(count)
    return cancel


if __name__ == "__main__":
    try:
        main(sys.argv[1], *map(float, sys.argv[2:]))
    except Exception as error:
        sys.exit(type(error).__name__)
