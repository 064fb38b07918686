"""Which sources are alive, asked of many hosts at once and of each one politely."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from support.faults import QUICK, status
from support.zoo_entries import DRIVE, FILE_ID, checkpoints, entry, reidhub, write_zoo

from reidhub.download.check_links import AT_ONCE, PER_HOST, _split_by_host, check_links
from reidhub.testing.hosts import Drive, Mega, Static, mega_link
from reidhub.testing.internet import Internet, Response, online

DATA = b"\x80\x02" + os.urandom(50_000)
MEGA = mega_link("AbCdEfGh", DATA)
WEB = "https://example.org/a.pth"


def hosts():
    return {**Mega({MEGA: DATA}).hosts, **Drive({FILE_ID: DATA}).hosts, "example.org": Static({"/a.pth": DATA})}


@pytest.fixture
def everywhere(tmp_path):
    (tmp_path / "a.pth").write_bytes(DATA)
    return entry("a.all", f"mega: {MEGA}", f"gdrive: {DRIVE}", f"https: {WEB}", "local: a.pth", pinned=DATA)


def test_each_source_is_asked_once_and_answers_stand_in_the_manifests_order(tmp_path, everywhere):
    told = []
    with online(hosts()):
        links = check_links(checkpoints(tmp_path, everywhere), patience=QUICK, on_answer=told.append)
    assert [(link.source.kind, link.host) for link in links] == [
        ("mega", "mega.nz"),
        ("gdrive", "drive.google.com"),
        ("https", "example.org"),
        ("local", "this machine"),
    ]
    assert all(link.alive and link.size == len(DATA) for link in links)
    assert sorted(told, key=links.index) == links


def test_a_file_of_another_size_is_not_alive(tmp_path):
    with online(hosts()):
        (link,) = check_links(checkpoints(tmp_path, entry("a.a", f"https: {WEB}", size=7)), patience=QUICK)
    assert not link.alive
    assert link.reason == "another file: 50002 bytes, not 7"


def test_a_dead_source_says_why_and_whether_for_good(tmp_path):
    sources = [f"mega: {mega_link('ZZZZZZZZ', DATA)}", f"https: {WEB}", "https: https://busy.org/a", "local: none.pth"]
    with online({**hosts(), "example.org": Static({}), "busy.org": lambda _: status(503)(Response())}):
        links = check_links(checkpoints(tmp_path, entry("a.a", *sources)), patience=QUICK)
    assert [(link.alive, link.permanent) for link in links] == [
        (False, True),
        (False, True),
        (False, False),
        (False, True),
    ]
    for link, words in zip(links, ["no such file", "404 Not Found", "503 Service", "No such file"], strict=True):
        assert words in link.reason


def test_a_host_gets_few_questions_at_a_time_and_others_do_not_wait_for_it(tmp_path):
    """Each answer of one host waits until as many are asked as may be, and the other has answered all of its own."""
    together, others = threading.Barrier(PER_HOST), threading.Event()
    most, now, quick = 0, 0, 0
    lock = threading.Lock()

    def slow(request):
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        together.wait(timeout=20)
        assert others.wait(timeout=20)
        with lock:
            now -= 1
        return Response(200, DATA)

    def other(request):
        nonlocal quick
        with lock:
            quick += 1
            if quick == 10:
                others.set()
        return Response(200, DATA)

    places = [f"https: https://{host}.org/{number}" for number in range(2 * PER_HOST) for host in ("slow", "other")]
    places += [f"https: https://other.org/more{number}" for number in range(2)]
    with online({"slow.org": slow, "other.org": other}):
        links = check_links(checkpoints(tmp_path, entry("a.a", *places)))
    assert all(link.alive for link in links)
    assert most == PER_HOST


def test_mega_and_drive_are_one_host_in_whatever_form_a_link_is_written(tmp_path):
    forms = ["https://mega.nz/#!{0}!{1}", "https://mega.co.nz/#!{0}!{1}", "https://mega.nz/file/{0}#{1}"]
    parts = [mega_link(f"AbCdEfG{number}", DATA).split("!")[1:] for number in range(6)]
    links = [forms[number % 3].format(*part) for number, part in enumerate(parts)]
    (checkpoint,) = checkpoints(tmp_path, entry("a.a", *(f"mega: {link}" for link in links)))
    assert len(_split_by_host(list(checkpoint.artifact.sources))) == PER_HOST < AT_ONCE


@contextmanager
def zoo_online(folder, *entries, **own):
    with Internet({**hosts(), **own}) as internet:
        yield lambda *args: reidhub("--manifest", write_zoo(folder, *entries), "links", *args, **internet.environment)


def test_the_command_prints_a_line_for_each_source(tmp_path, everywhere):
    with zoo_online(tmp_path, everywhere, entry("a.web", f"https: {WEB}", "https: https://gone.org/a")) as links:
        done = links("a.*")
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=5) for line in done.stdout.splitlines()]
    assert lines[0] == ["checkpoint", "source", "host", "size", "state"]
    assert lines[1] == ["a.all", "mega", "mega.nz", "0.1", "MB", "alive"]
    assert lines[-1][:3] == ["a.web", "https", "gone.org"]
    assert done.stderr.splitlines() == ["5 of 6 sources of 2 checkpoints alive"]


def test_the_command_fails_where_a_checkpoint_has_no_living_source(tmp_path, everywhere):
    before = datetime.now(UTC).replace(microsecond=0)
    with zoo_online(tmp_path, everywhere, entry("a.dead", f"https: {WEB}2", size=5)) as links:
        done = links("a.*", "--json")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "no living source: a.dead"
    data = json.loads(done.stdout)
    assert [(item["name"], item["alive"], item["size"]) for item in data] == [
        ("a.all", True, len(DATA)),
        ("a.dead", False, 5),
    ]
    checked = data[1]["sources"][0].pop("checked")
    assert checked.endswith("Z") and before <= datetime.fromisoformat(checked) <= datetime.now(UTC)
    assert data[1]["sources"] == [
        {
            "kind": "https",
            "location": f"{WEB}2",
            "host": "example.org",
            "alive": False,
            "size": None,
            "reason": "example.org: 404 Not Found",
            "permanent": True,
        }
    ]


@pytest.mark.parametrize("selector", ["a.*", "a.one"])
def test_the_command_asks_about_the_network_where_no_host_is_reached(selector, tmp_path):
    entries = [entry(f"a.{name}", f"https: https://gone.org/{name}") for name in ("one", "two")]
    with zoo_online(tmp_path, *entries) as links:
        done = links(selector)
    assert done.returncode == 1
    assert "is there a network" in done.stderr.splitlines()[-1]
    assert "no living source" not in done.stderr


def test_a_host_that_is_in_trouble_is_no_reason_to_ask_about_the_network(tmp_path):
    sources = "https: https://gone.org/a", "https: https://busy.org/a"
    with zoo_online(tmp_path, entry("a.one", *sources), **{"busy.org": lambda _: status(503)(Response())}) as links:
        done = links("a.one")
    assert done.stderr.splitlines()[-1] == "no living source: a.one"


def test_offline_no_host_is_asked(tmp_path, everywhere, monkeypatch):
    monkeypatch.setenv("REIDHUB_OFFLINE", "1")
    with online(hosts()) as internet:
        links = check_links(checkpoints(tmp_path, everywhere), patience=QUICK)
    assert [link.reason for link in links] == ["not asked: offline"] * 3 + [None]
    assert [link.checked_at is None for link in links] == [True] * 3 + [False]
    assert internet.log == []


def test_ctrl_c_waits_for_the_questions_under_way_alone(tmp_path):
    asked = threading.Semaphore(0)

    def slow(request):
        asked.release()
        time.sleep(0.5)
        return Response(404)

    file = write_zoo(tmp_path, entry("a.a", *(f"https: https://slow.org/{number}" for number in range(100))))
    with Internet({"slow.org": slow}) as internet:
        command = [sys.executable, "-m", "reidhub", "--manifest", str(file), "links", "a.a"]
        process = subprocess.Popen(command, env={**os.environ, **internet.environment}, stderr=subprocess.DEVNULL)
        assert asked.acquire(timeout=60)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert len(internet.log) <= 2 * PER_HOST


def test_ctrl_c_ends_the_pause_before_another_attempt(tmp_path):
    asked = threading.Semaphore(0)

    def busy(request):
        asked.release()
        return Response(503, headers={"Retry-After": "5"})

    file = write_zoo(tmp_path, entry("a.a", "https: https://busy.org/a"))
    with Internet({"busy.org": busy}) as internet:
        command = [sys.executable, "-m", "reidhub", "--manifest", str(file), "links", "a.a"]
        process = subprocess.Popen(command, env={**os.environ, **internet.environment}, stderr=subprocess.DEVNULL)
        assert asked.acquire(timeout=60)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert len(internet.log) == 1


def test_a_selector_that_means_nothing_is_wrong_usage():
    done = reidhub("links", "osnet_x9_0")
    assert done.returncode == 2
    assert "did you mean" in done.stderr
