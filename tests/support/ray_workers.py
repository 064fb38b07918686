"""Workers for tests of the Ray pool, which Ray's processes import by name."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from reidhub.errors import UsageError


class Squares:
    """Squares numbers, and leaves a file for each shard that it begins.

    Args:
        folder: the folder for these files.
        seconds: time for a shard.
    """

    def __init__(self, folder: Path, seconds: float = 0.05) -> None:
        self._folder = folder
        self._seconds = seconds

    def __call__(self, number: int) -> tuple[int, int]:
        """Return the square of the number, and the id of this process."""
        (self._folder / f"{number}-{os.getpid()}-{time.time_ns()}").touch()
        time.sleep(self._seconds)
        return number**2, os.getpid()


def refuse() -> Callable[[int], int]:
    """Raise an error instead of making a worker."""
    raise UsageError("this worker refuses", hint=f"ask another host than {socket.gethostname()}")


def die(number: int) -> int:
    """End the process, as a fault in native code does."""
    os._exit(1)


def make_dying() -> Callable[[int], int]:
    """Make a worker that dies at every shard."""
    return die
