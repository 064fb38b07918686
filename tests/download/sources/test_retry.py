"""How long a source keeps trying, and what ends its waits."""

import logging
import threading
import time
from dataclasses import replace

import pytest
from support.faults import QUICK, spoiled, status

from reidhub.download.sources.http import Session
from reidhub.download.sources.patience import PATIENCE, Patience, TransientError, UnreachableError, format_duration
from reidhub.download.sources.retry import Attempts
from reidhub.errors import CancelledError, SourceError
from reidhub.testing.hosts import Static
from reidhub.testing.internet import Response, online

FAST = Patience(attempts=3, connections=5, pause_s=0.001, longest_pause_s=0.01)
URL = "https://example.org/a.pth?key=secret"


def ask(patience=QUICK):
    with Session(patience) as http, http.follow(URL) as response:
        return response.status_code


def test_attempts_in_a_row_are_counted_and_the_error_itself_comes_out():
    attempts, error = Attempts(FAST), TransientError("no")
    attempts.wait_after(error)
    attempts.wait_after(error)
    with pytest.raises(TransientError) as caught:
        attempts.wait_after(error)
    assert caught.value is error


def test_error_that_ended_the_attempts_ends_them_again():
    attempts = Attempts(FAST)
    for _ in range(2):
        attempts.wait_after(TransientError("no"))
    for _ in range(2):
        with pytest.raises(TransientError):
            attempts.wait_after(TransientError("no"))


def test_progress_allows_for_more_but_not_without_end():
    attempts, counted = Attempts(FAST), 0
    with pytest.raises(TransientError):
        for _ in range(100):
            attempts.note_progress()
            counted += 1
            attempts.wait_after(TransientError("no"))
    assert counted == FAST.connections


def test_a_host_that_was_never_reached_is_tried_twice():
    attempts = Attempts(Patience(attempts=6, pause_s=0.001))
    attempts.wait_after(UnreachableError("no"))
    with pytest.raises(UnreachableError):
        attempts.wait_after(UnreachableError("no"))


def test_a_host_that_was_reached_before_gets_all_attempts():
    attempts = Attempts(Patience(attempts=3, pause_s=0.001))
    attempts.note_progress()
    attempts.wait_after(UnreachableError("no"))
    attempts.wait_after(UnreachableError("no"))


def test_failures_of_the_connection_of_the_answer_and_of_the_body_count_together():
    def cut(_):
        return Response(200, iter([b"\x80"]), {"Content-Length": "10"})

    host = spoiled(Static({"/a.pth": b"\x80"}), status(503), cut, status(503), always=status(503))
    with online({"example.org": host}) as internet, Session(QUICK) as http, pytest.raises(TransientError):
        http.attempts.repeat(lambda: fail_after_answer(http))
    assert len(internet.log) == QUICK.attempts


def fail_after_answer(http):
    with http.follow(URL):
        raise TransientError("the body broke off")


def test_pauses_grow_and_are_jittered_and_bounded():
    retry = Attempts(Patience(attempts=20, pause_s=1.0, longest_pause_s=10.0)).adapter.max_retries
    pauses = []
    for _ in range(11):
        retry = retry.increment(error=TransientError("no"))
        pauses.append(retry.get_backoff_time())
    bounds = [min(2.0**n, 10.0) for n in range(11)]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert len(set(pauses[:4])) == 4


def test_a_short_wait_that_a_host_asks_for_is_kept():
    attempts, start = Attempts(Patience(pause_s=0.001)), time.monotonic()
    attempts.wait_after(TransientError("no", retry_after_s=0.2))
    assert time.monotonic() - start >= 0.2


def test_a_long_wait_is_not_sat_out():
    with pytest.raises(TransientError):
        Attempts(PATIENCE).wait_after(TransientError("no", retry_after_s=31))


def test_a_wait_beyond_the_end_of_all_time_is_not_begun():
    start, error = time.monotonic(), TransientError("no", retry_after_s=20)
    with pytest.raises(TransientError) as caught:
        Attempts(Patience(total_s=10)).wait_after(error)
    assert caught.value is error
    assert time.monotonic() - start < 5


def test_all_time_ends():
    attempts = Attempts(Patience(total_s=0.01))
    time.sleep(0.02)
    with pytest.raises(SourceError, match="not done after 0 s"):
        attempts.deadline.check()


@pytest.mark.parametrize("host", [status(503, Retry_After="20"), None], ids=["refused", "not reached"])
def test_stop_event_ends_a_wait_of_urllib3_at_once(host):
    stop, start = threading.Event(), time.monotonic()
    threading.Timer(0.3, stop.set).start()
    world = {"example.org": lambda _: host(None)} if host else {}
    with online(world), pytest.raises(CancelledError):
        ask(Patience(pause_s=20, stop=stop))
    assert time.monotonic() - start < 5


def test_stop_event_ends_a_wait_for_the_rest_of_a_body_at_once():
    stop, start = threading.Event(), time.monotonic()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(CancelledError):
        Attempts(Patience(pause_s=20, stop=stop)).wait_after(TransientError("no"))
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("answer", [{"code": 503}, {"code": 302, "Location": "/b.pth"}], ids=["refusal", "redirect"])
def test_body_that_nobody_asked_for_is_not_read(answer):
    """Both requests and urllib3 read such a body to its end by themselves, and this one has none."""
    read = []

    def endless():
        while len(read) < 2000:  # 128 MB: what a socket takes before it is closed is far less
            read.append(1)
            yield bytes(65536)

    edits = [lambda _: Response(answer["code"], endless(), {k: v for k, v in answer.items() if k != "code"})]
    host = spoiled(Static({"/a.pth": b"\x80", "/b.pth": b"\x80"}), *edits)
    with online({"example.org": host}):
        assert ask() == 200
    assert len(read) < 1000


def test_failed_connection_tells_its_host_and_nothing_else_of_its_address(caplog):
    with online({}), caplog.at_level(logging.INFO), pytest.raises(UnreachableError):
        ask(replace(QUICK, pause_s=2, longest_pause_s=2))
    assert "example.org: no connection" in caplog.text
    assert "secret" not in caplog.text


def test_times_are_told_in_a_fitting_unit():
    assert [format_duration(s) for s in (5, 99, 2460, 19_800)] == ["5 s", "99 s", "41 min", "5.5 h"]
