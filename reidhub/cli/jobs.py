"""Run a function on several items at the same time, for commands."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_GRACE_S = 1.0  # time for the threads to end after `stop` is set


def run_in_order(work: Callable[[T], R], items: Sequence[T], jobs: int, stop: threading.Event) -> Iterator[R]:
    """Call a function for each item in threads, and yield the results in the order of the items.

    If the caller does not take all results, for example after Ctrl-C, this function waits for the threads to end, but
    at most one second.

    Args:
        work: the function; called in a thread with one item.
        items: the items.
        jobs: number of threads.
        stop: this function sets the event after the last result, or when the caller takes no more results. ``work``
            should check the event often, and return soon after it is set.

    Raises:
        Exception: ``work`` raised this exception for an item. It is raised in place of the result of this item.
    """
    waiting: queue.SimpleQueue[tuple[Future[R], T]] = queue.SimpleQueue()
    futures: list[Future[R]] = [Future() for _ in items]
    for pair in zip(futures, items, strict=True):
        waiting.put(pair)
    threads = [threading.Thread(target=_work, args=(work, waiting, stop), daemon=True) for _ in items[:jobs]]
    for thread in threads:
        thread.start()
    try:
        for future in futures:
            yield future.result()
    finally:
        stop.set()
        for thread in threads:
            thread.join(_GRACE_S / len(threads))


def _work(work: Callable[[T], R], waiting: "queue.SimpleQueue[tuple[Future[R], T]]", stop: threading.Event) -> None:
    with suppress(queue.Empty):
        while not stop.is_set():
            future, item = waiting.get_nowait()
            try:
                future.set_result(work(item))
            except BaseException as error:
                future.set_exception(error)
