"""Locks for threads: fair ones, and ones that are free in a forked process."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Condition, RLock, get_ident, local
from typing import Any
from weakref import WeakSet

from reidhub.errors import UsageError


class Turns:
    """A lock that threads get in the order in which they ask for it. A copy of it is a new lock.

    ``threading.Lock`` has no order: a thread that uses it again and again can keep all others waiting. A fork waits
    until no other thread has a turn. In the forked process, only the turn of the thread that forked is left.

    Args:
        owner: what the lock protects, for the error message, such as ``"this embedder"``.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._changed = Condition()
        self._order: dict[int, None] = {}  # identifiers of threads; the first one has the turn
        _all_turns.add(self)

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for this thread's turn, and keep the turn until the ``with`` block ends.

        Raises:
            UsageError: this thread has the turn already, or is waiting for it. It would have to wait for itself.
        """
        thread = get_ident()
        if self.is_mine():
            raise UsageError(
                f"{self._owner} was called by a hook or a signal handler while it was busy in the same thread",
                hint="make a second one for the hook or the signal handler",
            )
        try:
            with self._changed:
                self._order[thread] = None
                self._changed.wait_for(lambda: next(iter(self._order)) == thread)
            yield
        finally:
            with self._changed:
                self._order.pop(thread, None)  # Ctrl-C may have come before it was added
                self._changed.notify_all()

    def is_mine(self) -> bool:
        """Return True if this thread has the turn, or waits for it."""
        return get_ident() in self._order

    def forget_other_threads(self) -> None:
        """Remove the threads that do not exist after a fork."""
        self._changed = Condition()
        self._order = {thread: None for thread in self._order if thread == get_ident()}

    def __reduce__(self) -> tuple[Any, ...]:
        return Turns, (self._owner,)


_all_turns: WeakSet[Turns] = WeakSet()
_forking = local()  # .turns: the turns that the forking thread has taken


def _take_all_turns() -> None:
    """Wait until no other thread has a turn: torch and OpenVINO have locks too, and a fork copies them as they are."""
    _forking.turns = ExitStack()
    for turns in list(_all_turns):
        if not turns.is_mine():
            _forking.turns.enter_context(turns.take())


def _give_back_turns() -> None:
    _forking.turns.close()


def _forget_other_threads() -> None:
    for turns in _all_turns:
        turns.forget_other_threads()
    _give_back_turns()


if hasattr(os, "register_at_fork"):  # Windows cannot fork
    os.register_at_fork(before=_take_all_turns, after_in_parent=_give_back_turns, after_in_child=_forget_other_threads)


def call_in_forks(reset: Callable[[], None]) -> None:
    """Call a function in each forked process, before anything else runs there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reset)


def make_fork_safe_lock() -> Any:
    """Make a ``threading.RLock`` for which a fork waits, so that no other thread has it in the forked process."""
    lock = RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock
