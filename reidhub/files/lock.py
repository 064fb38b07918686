"""A lock file that lets one process at a time do a job, so that two processes do not do the same work twice.

The lock only saves work. If locks do not work on a disk, or a lock is never released, the job is done without the lock.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

_LOOK_S = 1.0  # time between two calls of `is_worth_waiting`
_POLL_S = 0.05

_log = logging.getLogger(__name__)


@contextmanager
def take_turn(path: Path, what: str, is_worth_waiting: Callable[[], bool]) -> Iterator[None]:
    """Wait until no other process holds the lock, then hold the lock during the ``with`` block.

    Args:
        path: the lock file; created here, and removed at the end.
        what: description of the other process's job for the log, such as ``fetching NAME``.
        is_worth_waiting: called every second while another process holds the lock. If it returns False, the ``with``
            block runs without the lock.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        locked = _acquire(lock, what, is_worth_waiting)
    except (OSError, NotImplementedError):  # the folder is read-only, or its file system has no locks
        locked = False
    try:
        yield
    finally:
        if locked:
            with suppress(OSError):
                path.unlink()  # remove it before the release, so that waiting processes create a new file
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
