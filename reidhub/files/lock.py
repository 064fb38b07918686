"""One process at a time, where the folder knows locks. That saves double work, and nothing depends on it.

Where a lock does nothing, fails, or stays behind, everything goes on without it.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

_LOOK_S = 1.0  # between two questions whether waiting still makes sense
_POLL_S = 0.05

_log = logging.getLogger(__name__)


@contextmanager
def take_turn(path: Path, what: str, is_worth_waiting: Callable[[], bool]) -> Iterator[None]:
    """Wait until no other process holds the lock, and hold it during the ``with`` block.

    Args:
        path: the lock's file; made, and removed at the end.
        what: the other process is doing, for the message.
        is_worth_waiting: asked every second; False ends the wait, and the block runs without the lock.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        locked = _acquire(lock, what, is_worth_waiting)
    except (OSError, NotImplementedError):  # a read-only folder, or one that knows no locks
        locked = False
    try:
        yield
    finally:
        if locked:
            with suppress(OSError):
                path.unlink()  # before the release: those who wait make a new file then
            with suppress(OSError):
                lock.release()


def _acquire(lock: filelock.BaseFileLock, what: str, is_worth_waiting: Callable[[], bool]) -> bool:
    timeout_s = 0.0
    while True:
        try:
            lock.acquire(timeout=timeout_s, poll_interval=_POLL_S)
            return True
        except filelock.Timeout:
            if not timeout_s:
                _log.warning("another process is %s; waiting for it", what)
            if not is_worth_waiting():
                return False
        timeout_s = _LOOK_S
