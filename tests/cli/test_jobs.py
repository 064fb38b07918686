"""Many pieces of work at once, for commands."""

import threading
import time

import pytest

from reidhub.cli.jobs import run_in_order


def test_results_come_in_the_order_of_the_items():
    def work(item):
        time.sleep(0.02 * (5 - item))
        return item * 2

    assert list(run_in_order(work, range(5), 5, threading.Event())) == [0, 2, 4, 6, 8]


def test_an_error_comes_in_the_place_of_its_item_and_ends_the_rest():
    done, stop = [], threading.Event()

    def work(item):
        if item == 1:
            raise ValueError("no")
        stop.wait(0.2)
        done.append(item)

    results = run_in_order(work, range(100), 2, stop)
    next(results)
    with pytest.raises(ValueError, match="no"):
        next(results)
    assert stop.is_set()
    assert len(done) < 10


def test_nothing_to_do_is_done():
    assert list(run_in_order(str, [], 4, threading.Event())) == []
