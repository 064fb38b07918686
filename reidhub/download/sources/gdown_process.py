"""Download one file of Google Drive with gdown and write it to standard output.

`reidhub.download.sources.gdrive` runs this file as a program, by its path; the program imports nothing of reidhub.

gdown has no limits of its own: it reads web pages of any length into memory, and follows any number of confirmation
pages. It therefore runs in a separate process with limits on memory, requests and time, which can be killed at any
moment. The process writes no file.

Standard output is one line with the size in bytes (empty if unknown), then the file. After a failure, standard error
ends with the type of the exception, but without its text, which may quote the password of a proxy.
"""

import io
import os
import sys
import threading
from contextlib import suppress
from typing import Any

LATE = 3
"""Exit status of this process if its time is over."""

_MEMORY = 128 << 20  # bytes; gdown allocates 45 MiB for a file of any size
_REQUESTS = 40  # also counts those to a proxy; a small file takes 4, a large one 6, due to Google's confirmation form


def main(file_id: str, connect_s: float, read_s: float, first_byte_s: float, total_s: float) -> None:
    """Download the Drive file with this id to standard output; the four time limits are those of `Patience`."""
    _limit_memory()
    os.environ["NETRC"] = os.devnull  # so that requests sends no password from ~/.netrc
    threading.Thread(target=_end_with_parent, daemon=True).start()
    deadline = _end_after(first_byte_s)
    import gdown  # after the limits are set, so that they apply to the import too

    chunk = io.BytesIO()

    def pass_on(received: int, size: int | None) -> None:
        data = chunk.getvalue()  # gdown calls `pass_on` after each chunk that it has written
        if received == len(data):
            deadline.cancel()
            _end_after(total_s)
            sys.stdout.buffer.write(b"%d\n" % size if size is not None else b"\n")
        sys.stdout.buffer.write(data)
        chunk.seek(0)
        chunk.truncate()

    gdown.download(
        id=file_id,  # for some formats of links, gdown saves a web page as if it were the file
        output=chunk,
        progress=pass_on,
        quiet=True,
        use_cookies=False,
        timeout=(connect_s, read_s),
        retries=0,  # gdown retries only downloads to a file on the disk; `gdrive` repeats the download instead
        cancel=_cancel_after_requests(),
    )


def _limit_memory() -> None:
    """Limit the memory of this process to `_MEMORY` bytes.

    Only Linux limits all of the allocated memory. Other systems limit only a part of it, or nothing.
    """
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limit; a lower one may be set already
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, most))


def _end_with_parent() -> None:
    """End this process as soon as the parent process ends; runs in a thread of its own.

    Standard input is a pipe from the parent. The thread reads from the pipe, and the parent never writes to it. When
    the parent ends, the pipe is closed, and the read returns.
    """
    os.read(0, 1)
    os._exit(1)


def _end_after(seconds: float) -> threading.Timer:
    """Return a timer that ends this process after ``seconds``, unless it is cancelled."""
    timer = threading.Timer(seconds, os._exit, [LATE])
    timer.daemon = True
    timer.start()
    return timer


def _cancel_after_requests() -> threading.Event:
    """Return an event that is set when this process sends more than `_REQUESTS` requests.

    gdown takes the event as its argument ``cancel``, and stops when it is set.
    """
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
