"""Runs code in forked processes, which are killed if they hang."""

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import torch

T = TypeVar("T")


def run_in_fork(work: Callable[[], T], timeout_s: int = 20) -> T:
    """Fork this process, call a function in the child, and return its result.

    Torch gets one compute thread in the child, as in a worker of a DataLoader. With more, OpenMP hangs.

    Raises:
        AssertionError: the child has not ended after ``timeout_s`` seconds, or the function raised an exception.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(timeout_s)
        torch.set_num_threads(1)
        _send(work, writing)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with status {status} (14: it hung)"
    result, error = pickle.loads(answer)
    assert error is None, error
    return result  # type: ignore[no-any-return]


def _send(work: Callable[[], object], writing: int) -> None:
    try:
        answer: tuple[object, str | None] = work(), None
    except BaseException:
        answer = None, traceback.format_exc()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(pickle.dumps(answer))
