"""Locks of threads: who has its turn, who is refused, and what is left after a fork."""

import pickle
import signal
import threading
import time
from collections.abc import Callable

import pytest
from support.forks import run_in_fork

from reidhub.errors import UsageError
from reidhub.thread_locks import Turns, make_fork_safe_lock

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class Holder:
    """A thread that takes a lock and keeps it until it is told to end."""

    def __init__(self, take: Callable[[], object]) -> None:
        self.inside, self.may_end = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.run, args=[take], daemon=True)
        self.thread.start()

    def run(self, take: Callable) -> None:
        with take():
            self.inside.set()
            self.may_end.wait(20)

    def end(self) -> None:
        self.may_end.set()
        self.thread.join(20)


def test_a_third_thread_waits_for_one_turn_of_each_of_two_busy_threads():
    turns, order, stop = Turns("it"), [], threading.Event()

    def work(name: str) -> None:
        while not stop.is_set():
            with turns.take():
                order.append(name)
                time.sleep(0.002)  # as a model does, this lets other threads run

    busy = [threading.Thread(target=work, args=[name]) for name in "ab"]
    for thread in busy:
        thread.start()
    waits = []
    for _ in range(20):
        asked = len(order)
        with turns.take():
            waits.append(len(order) - asked)
    stop.set()
    for thread in busy:
        thread.join(20)

    assert max(waits) <= 3 and {"a", "b"} == set(order)


def test_threads_have_their_turn_in_the_order_in_which_they_asked():
    turns, order = Turns("it"), []
    first = Holder(turns.take)
    assert first.inside.wait(20)

    def work(number: int) -> None:
        with turns.take():
            order.append(number)

    threads = []
    for number in range(10):
        threads.append(threading.Thread(target=work, args=[number]))
        threads[-1].start()
        while len(turns._order) < number + 2:
            time.sleep(0.001)
    first.end()
    for thread in threads:
        thread.join(20)

    assert order == list(range(10))


def test_a_thread_that_has_the_turn_cannot_ask_again():
    turns = Turns("this embedder")

    with turns.take():
        for _ in range(2):
            with (
                pytest.raises(UsageError, match="this embedder was called by a hook or a signal handler"),
                turns.take(),
            ):
                pass

    with turns.take():
        pass


@pytest.fixture
def interrupt():
    """Calls a function in a signal handler of the main thread, after 0.1 seconds."""
    before = signal.getsignal(signal.SIGALRM)

    def arm(call: Callable[[], object]) -> None:
        signal.signal(signal.SIGALRM, lambda *_: call())
        signal.setitimer(signal.ITIMER_REAL, 0.1)

    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_of_a_thread_that_waits_is_refused_and_the_thread_still_gets_its_turn(interrupt):
    turns, refused = Turns("it"), []
    first = Holder(turns.take)
    assert first.inside.wait(20)

    def ask_again() -> None:
        with pytest.raises(UsageError) as caught, turns.take():
            pass
        refused.append(caught.value)
        first.may_end.set()

    interrupt(ask_again)
    with turns.take():
        assert len(refused) == 1


def test_a_thread_that_is_interrupted_while_it_waits_leaves_the_queue(interrupt):
    turns = Turns("it")
    first = Holder(turns.take)
    assert first.inside.wait(20)

    interrupt(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError), turns.take():
        pass

    second = Holder(turns.take)
    assert not second.inside.wait(0.1)
    first.end()
    assert second.inside.wait(20)
    second.end()


def test_a_fork_waits_for_the_turn_and_the_forked_process_for_no_thread_of_its_parent():
    turns = Turns("it")
    others = [Holder(turns.take) for _ in range(3)]
    assert others[0].inside.wait(20)
    start = time.monotonic()
    threading.Timer(0.2, lambda: [other.may_end.set() for other in others[:2]]).start()
    threading.Timer(0.4, others[2].may_end.set).start()

    def take() -> int:
        with turns.take():
            return len(turns._order)

    assert run_in_fork(take) == 1
    assert time.monotonic() - start > 0.2
    for other in others:
        other.end()
    assert not turns._order


def test_a_forked_process_waits_for_no_thread_that_asked_after_the_fork_was_requested():
    turns = Turns("it")
    first, later = Holder(turns.take), []
    assert first.inside.wait(20)
    threading.Timer(0.1, lambda: later.append(Holder(turns.take))).start()
    threading.Timer(0.4, first.may_end.set).start()

    def take() -> int:
        with turns.take():
            return len(turns._order)

    assert run_in_fork(take) == 1
    first.end()
    later[0].end()


def test_a_thread_that_forks_in_its_turn_still_has_it_in_the_forked_process():
    turns = Turns("it")

    def ask_again() -> bool:
        with pytest.raises(UsageError), turns.take():
            pass
        return True

    with turns.take():
        assert run_in_fork(ask_again)


def test_a_fork_waits_for_a_lock_so_that_the_forked_process_can_have_it():
    lock = make_fork_safe_lock()
    holder = Holder(lambda: lock)
    assert holder.inside.wait(20)
    threading.Timer(0.1, holder.may_end.set).start()

    assert run_in_fork(lambda: lock.acquire(timeout=1))
    assert lock.acquire(timeout=1)
    lock.release()


def test_a_copy_is_a_new_lock():
    turns = Turns("it")
    with turns.take():
        copy = pickle.loads(pickle.dumps(turns))
        with copy.take():
            pass


def test_two_threads_can_fork_at_once():
    turns = [Turns("it") for _ in range(3)]

    def work() -> None:
        for _ in range(5):
            assert run_in_fork(lambda: True)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert not any(thread.is_alive() for thread in threads)
    for one in turns:
        with one.take():
            pass
