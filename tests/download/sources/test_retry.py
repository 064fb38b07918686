"""How long a source keeps trying."""

import time

import pytest

from reidhub.download.sources.retry import PATIENCE, Attempts, Hiccup, Patience, Unreachable, format_duration
from reidhub.errors import SourceError

FAST = Patience(attempts=3, connections=5, pause_s=0.001, longest_pause_s=0.01)


def test_attempts_in_a_row_are_counted_and_the_error_itself_comes_out():
    attempts, error = Attempts(FAST), Hiccup("no")
    attempts.again(error)
    attempts.again(error)
    with pytest.raises(Hiccup) as caught:
        attempts.again(error)
    assert caught.value is error


def test_progress_allows_for_more_but_not_without_end():
    attempts = Attempts(FAST)
    with pytest.raises(Hiccup):
        for _ in range(100):
            attempts.progressed()
            attempts.again(Hiccup("no"))
    assert attempts._broken == FAST.connections


def test_a_host_that_was_never_reached_is_tried_twice():
    attempts = Attempts(Patience(attempts=6, pause_s=0.001))
    attempts.again(Unreachable("no"))
    with pytest.raises(Unreachable):
        attempts.again(Unreachable("no"))


def test_a_host_that_was_reached_before_gets_all_attempts():
    attempts = Attempts(Patience(attempts=3, pause_s=0.001))
    attempts.progressed()
    attempts.again(Unreachable("no"))
    attempts.again(Unreachable("no"))


def test_pauses_grow_and_are_jittered_and_bounded():
    attempts = Attempts(Patience(attempts=20, pause_s=1.0, longest_pause_s=10.0))
    pauses = []
    for failed in range(1, 12):
        attempts._failed = failed
        pauses.append(attempts._pause_s(Hiccup("no")))
    bounds = [min(2.0**n, 10.0) for n in range(11)]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert len(set(pauses[:4])) == 4


def test_a_short_wait_that_a_host_asks_for_is_kept():
    attempts, start = Attempts(Patience(pause_s=0.001)), time.monotonic()
    attempts.again(Hiccup("no", retry_after_s=0.2))
    assert time.monotonic() - start >= 0.2


def test_a_long_wait_is_not_sat_out():
    with pytest.raises(Hiccup):
        Attempts(PATIENCE).again(Hiccup("no", retry_after_s=31))


def test_all_time_ends():
    attempts = Attempts(Patience(total_s=0.01))
    time.sleep(0.02)
    for ends in (attempts.progressed, attempts.check_time):
        with pytest.raises(SourceError, match="not done after 0 s"):
            ends()


def test_times_are_told_in_a_fitting_unit():
    assert [format_duration(s) for s in (5, 99, 2460, 19_800)] == ["5 s", "99 s", "41 min", "5.5 h"]
