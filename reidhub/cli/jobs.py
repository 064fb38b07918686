"""Many pieces of work at once, for commands."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_GRACE_S = 1.0  # for what has been told to stop


def in_order(work: Callable[[T], R], items: Sequence[T], jobs: int, stop: threading.Event) -> Iterator[R]:
    """The results in the order of the items; whoever leaves early, by Ctrl-C too, waits for no thread.

    Args:
        work: done in a thread, for one item.
        items: what there is to do.
        jobs: threads at once.
        stop: set where the caller leaves early, for ``work`` to look at.

    Raises:
        Exception: what ``work`` raised for an item, in that item's place.
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
