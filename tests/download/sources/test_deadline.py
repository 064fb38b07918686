"""Hosts that send a byte now and then: each wait ends in time, and so does the whole download."""

import threading
import time
from dataclasses import replace

import pytest
from support.faults import QUICK, spoiled
from support.slow_hosts import BODIES, HEADS, drip, raw_proxy
from support.source_kinds import DATA, offered

from reidhub.download.sources import open_stream, probe
from reidhub.download.sources.patience import UnreachableError
from reidhub.errors import CancelledError, SourceError
from reidhub.testing.hosts import Mega
from reidhub.testing.internet import Response, online
from reidhub.zoo.artifact import Source

WEB = Source("https", "https://example.org/a.pth")
QUICK_HEAD = replace(QUICK, read_s=0.4)
SHORT = replace(QUICK, read_s=20, total_s=0.6)
ALL = {**HEADS, **BODIES}


def slow_host(start, then):
    return {"example.org": lambda _: Response(head=drip(start, then))}


def read(source, patience):
    with open_stream(source, patience=patience) as stream:
        return b"".join(stream.chunks)


def ask_size(source, patience):
    return probe(source, patience=patience)


@pytest.fixture
def limit():
    """Fails a test that takes longer than 4 s, although each of these hosts goes on for 30 s."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 4


@pytest.mark.parametrize("part", HEADS)
@pytest.mark.parametrize(
    "ask", [read, lambda source, patience: probe(source, patience=patience)], ids=["read", "probe"]
)
def test_head_that_comes_byte_by_byte_must_end_within_the_time_for_one_byte(part, ask, limit):
    with online(slow_host(*HEADS[part])) as internet, pytest.raises(UnreachableError, match="no answer in time"):
        ask(WEB, QUICK_HEAD)
    assert len(internet.log) == 2


@pytest.mark.parametrize("part", ["length of a chunk", "trailers"])
def test_bytes_that_are_not_of_the_file_do_not_keep_a_download_alive(part, limit):
    with online(slow_host(*BODIES[part])), pytest.raises(SourceError, match="the connection stalled after 1 bytes"):
        read(WEB, QUICK_HEAD)


@pytest.mark.parametrize("part", ALL)
def test_no_part_of_an_answer_goes_on_beyond_the_time_for_the_download(part, limit):
    with online(slow_host(*ALL[part])), pytest.raises(SourceError) as caught:
        read(WEB, SHORT)
    assert caught.value.message == "not done after 1 s"


@pytest.mark.parametrize("part", ALL)
def test_stop_event_ends_the_wait_for_each_part_of_an_answer_at_the_next_byte(part, limit):
    stop = threading.Event()
    threading.Timer(0.4, stop.set).start()
    with online(slow_host(*ALL[part])), pytest.raises(CancelledError):
        read(WEB, replace(QUICK, read_s=20, stop=stop))


@pytest.mark.parametrize("part", ["status line", "one header", "many headers"])
def test_proxy_that_answers_connect_byte_by_byte_is_left_in_time(part, limit, monkeypatch):
    with raw_proxy(lambda: drip(*HEADS[part])) as address:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, address)
        with pytest.raises(UnreachableError, match=r"example\.org: no "):
            read(WEB, replace(QUICK, connect_s=0.4))
        with pytest.raises(SourceError, match="not done after 1 s"):
            read(WEB, replace(SHORT, connect_s=20))


def test_answer_of_megas_api_that_comes_byte_by_byte_must_end_in_time(limit, tmp_path):
    source, hosts = offered("mega", DATA, tmp_path)

    def dripping(_):
        return Response(200, drip(b"[", b" "))

    with online({**hosts, Mega.API: dripping}) as internet, pytest.raises(UnreachableError, match="not complete"):
        read(source, QUICK_HEAD)
    assert len(internet.log) == 2
    with online({**hosts, Mega.API: dripping}), pytest.raises(SourceError, match="not done after 1 s"):
        read(source, SHORT)


def test_slow_answer_that_ends_in_time_is_as_good_as_any(limit, tmp_path):
    source, hosts = offered("mega", DATA, tmp_path)

    def slowly(response):
        blocks = [response.body[at : at + 20] for at in range(0, len(response.body), 20)]
        return Response(200, (time.sleep(0.02) or block for block in blocks))

    with online({**hosts, Mega.API: spoiled(hosts[Mega.API], always=slowly)}):
        assert read(source, QUICK_HEAD) == DATA


def test_body_that_comes_slowly_but_steadily_is_read_to_its_end(limit):
    blocks = [DATA[at : at + 10] for at in range(0, 200, 10)]
    slow = Response(200, (time.sleep(0.04) or block for block in blocks), {"Content-Length": "200"})
    with online({"example.org": lambda _: slow}):
        assert read(WEB, replace(QUICK, read_s=0.3)) == DATA[:200]
