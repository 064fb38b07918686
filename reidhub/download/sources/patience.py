"""How long a source keeps trying, and the errors that another attempt may mend.

Needs no network library, so that commands which download nothing are spared the import.
"""

import threading
from dataclasses import dataclass, field

from reidhub.errors import SourceError

NO_NETWORK = "is there a network, or a proxy to be set in $HTTPS_PROXY?"
"""The hint of an `UnreachableError`."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits on one download from one source.

    Args:
        attempts: requests in a row that bring no new byte.
        connections: that broke off over the whole file, however many bytes came in between.
        pause_s: before the second attempt; doubled for each further one, and jittered.
        longest_pause_s: the longest pause. Where a host asks for a longer one, the source gives up.
        connect_s: time until a connection stands.
        read_s: time without a byte on an open connection.
        first_byte_s: time until Google Drive sends the first byte of a file.
        puzzle_s: time for computing, where Mega asks for a proof of work.
        total_s: time for everything.
        stop: set from another thread to end the download at its next byte or pause.
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
    """A failure that the next attempt may not meet; raised out of a source once no attempt is left."""

    def add_position(self, offset: int, size: int | None) -> None:
        """Add to the message how many bytes had come; nothing where none had."""
        if offset:
            self.message += f" after {offset} bytes" if size is None else f" after {offset} of {size} bytes"


class UnreachableError(TransientError):
    """The host let no connection come about, or gave no answer. Before the first byte, one more attempt follows."""


def format_duration(seconds: float) -> str:
    """Write a time for people: ``30 s``, ``41 min``, ``5.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
