"""One process at a time, where the folder knows locks. That saves double work and is all that it does.

Where locks do nothing, fail, or stay behind, everything goes on without: no result depends on one.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

_LOOK_S = 1.0  # between two looks at whether waiting still makes sense
_POLL_S = 0.05

_log = logging.getLogger(__name__)


@contextmanager
def turn(path: Path, what: str, worth_waiting: Callable[[], bool]) -> Iterator[None]:
    """Wait until no other process holds the lock, and hold it for the block.

    Args:
        path: the lock's file; made, and removed at the end.
        what: is being waited for, in words.
        worth_waiting: asked every second; False ends the wait without the lock.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        held = _acquired(lock, what, worth_waiting)
    except (OSError, NotImplementedError):  # a read-only folder, or one that knows no locks
        held = False
    try:
        yield
    finally:
        if held:
            with suppress(OSError):
                path.unlink()  # while it is held: who waits for it takes a new one
            with suppress(OSError):
                lock.release()


def _acquired(lock: filelock.BaseFileLock, what: str, worth_waiting: Callable[[], bool]) -> bool:
    timeout_s = 0.0
    while True:
        try:
            lock.acquire(timeout=timeout_s, poll_interval=_POLL_S)
            return True
        except filelock.Timeout:
            if not timeout_s:
                _log.warning("another process is %s; waiting for it", what)
            if not worth_waiting():
                return False
        timeout_s = _LOOK_S
