"""Limits on attempts and time for one source, and the errors after which another attempt may succeed.

This module imports no network library, so that commands without downloads start faster.
"""

import threading
from dataclasses import dataclass, field

from reidhub.errors import SourceError

NO_NETWORK = "is there a network, or a proxy to be set in $HTTPS_PROXY?"
"""The hint of every `UnreachableError`."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits on one download from one source.

    Args:
        attempts: the source gives up after this number of failed attempts in a row. When a new byte comes, the count
            starts again at 0.
        connections: the source gives up after this number of failures in the whole download, such as broken
            connections, even if new bytes came in between.
        pause_s: pause before the second attempt. Each further pause is twice as long. Each pause is then multiplied by
            a random factor from 0.5 to 1.
        longest_pause_s: limit on a pause; if a host asks for a longer one, the source gives up.
        connect_s: longest time to open a connection.
        read_s: longest time without a new byte of the file on an open connection; also the longest time for the head of
            an answer, and for the whole of a short answer such as that of an API.
        first_byte_s: longest time until Google Drive sends the first byte of a file.
        puzzle_s: longest time to solve the puzzle that Mega may ask for (a proof of work).
        total_s: longest time for the whole download.
        stop: event that another thread sets to end the download at the next byte or pause.
    """

    attempts: int = 6
    connections: int = 100
    pause_s: float = 0.5
    longest_pause_s: float = 30.0
    connect_s: float = 10.0
    read_s: float = 30.0
    first_byte_s: float = 20.0
    puzzle_s: float = 60.0
    total_s: float = 4 * 3600.0
    stop: threading.Event = field(default_factory=threading.Event, compare=False)


PATIENCE = Patience()


class TransientError(SourceError):
    """A failure after which another attempt may succeed.

    A source module catches this error and tries again. If its attempts are used up, or the host asks for a pause that
    is too long, the module raises the error to its caller.
    """

    def add_position(self, offset: int, size: int | None) -> None:
        """Add to the message how many bytes were received, as in ``after 512 of 1024 bytes``.

        Args:
            offset: number of bytes received so far; 0 leaves the message as it is.
            size: bytes of the whole file; None if unknown.
        """
        if offset:
            self.message += f" after {offset} bytes" if size is None else f" after {offset} of {size} bytes"


class UnreachableError(TransientError):
    """No connection to the host could be opened, or no answer came.

    If this happens before the first byte of the file, at most one more attempt follows, even if `Patience.attempts`
    allows more.
    """


def format_duration(seconds: float) -> str:
    """Return a time as text for users: ``30 s``, ``41 min``, ``5.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
