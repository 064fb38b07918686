"""Google Drive over the loopback internet, through the real gdown."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import pytest
from support.faults import QUICK, announce, drop, endless, flip, header, spoiled, stall, status, unsized
from support.generated_zoo import File, files_below, shell, write_manifest
from support.processes import is_running, list_children
from support.slow_hosts import drip

from reidhub.cache.store import Cache
from reidhub.download.fetch import Fetcher, FetchOptions
from reidhub.download.sources.gdrive import open_stream, parse_id
from reidhub.errors import CancelledError, IntegrityError, SourceError
from reidhub.testing.hosts import Drive, page
from reidhub.testing.internet import Internet, Response, online

FILE_ID = "1-CaioD9NaqbHK_kzSMW8VE4_3KcsRjEo"
URL = f"https://drive.google.com/uc?id={FILE_ID}"
DATA = b"\x80\x02" + random.Random(4).randbytes(5_000_001)


def hosts(*edits, always=None, large=(), refused=None, data=DATA):
    drive = Drive({FILE_ID: data}, large=large, refused=refused)
    return {**drive.hosts, Drive.CONTENT: spoiled(drive.content, *edits, always=always)}


def read(url=URL, patience=QUICK):
    with open_stream(url, patience=patience) as stream:
        return b"".join(stream.chunks)


def wait_for(condition):
    end = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def refused_by(*edits, patience=QUICK, **options):
    with online(hosts(*edits, **options)) as internet, pytest.raises(SourceError) as caught:
        read(patience=patience)
    return caught.value, internet


@pytest.mark.parametrize(
    "url",
    [
        URL,
        f"https://drive.google.com/uc?export=download&id={FILE_ID}",
        f"https://drive.google.com/open?id={FILE_ID}",
        f"https://drive.google.com/file/d/{FILE_ID}/view?usp=sharing",
        f"https://drive.google.com/file/d/{FILE_ID}",
        f"https://drive.google.com/file/u/0/d/{FILE_ID}/edit",
        f"https://drive.usercontent.google.com/download?id={FILE_ID}&export=download&confirm=t",
    ],
)
def test_every_form_of_link_holds_the_same_id(url):
    assert parse_id(url) == FILE_ID


@pytest.mark.parametrize(
    "url",
    [
        "https://drive.google.com/uc",
        "https://drive.google.com/uc?id=",
        "https://drive.google.com/uc?id=../../etc/passwd",
        f"https://drive.google.com/uc?id={FILE_ID}&id={FILE_ID}",
        f"https://drive.google.com/drive/folders/{FILE_ID}",
        f"https://drive.google.com/file/d/{FILE_ID}/view/more",
        f"https://drive.google.com.evil.org/uc?id={FILE_ID}",
        f"https://user@drive.google.com/uc?id={FILE_ID}",
        f"https://example.org/uc?id={FILE_ID}",
        FILE_ID,
    ],
)
def test_a_link_without_a_single_id_is_refused_for_good(url):
    with pytest.raises(SourceError, match="malformed Drive link") as caught:
        parse_id(url)
    assert caught.value.permanent


def test_a_small_file_comes_directly():
    with online(hosts()) as internet:
        assert read() == DATA
    assert [request.host for request in internet.log] == [Drive.FRONT, Drive.CONTENT]


def test_a_large_file_comes_from_behind_the_form():
    with online(hosts(large=(FILE_ID,))) as internet:
        assert read() == DATA
    assert len(internet.log) == 3


def test_a_link_of_the_content_host_gives_the_file_and_no_page():
    with online(hosts(large=(FILE_ID,))):
        assert read(f"https://{Drive.CONTENT}/download?id={FILE_ID}&export=download") == DATA


def test_the_size_is_known_before_the_first_chunk_is_read():
    with online(hosts()), open_stream(URL, patience=QUICK) as stream:
        assert stream.size == len(DATA)
        assert (stream.offset, stream.state) == (0, {})


def test_no_file_is_written_nothing_printed_and_no_cookie_kept(tmp_path, monkeypatch, capfd):
    for name in ("HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with online(hosts(header(Set_Cookie="NID=1; Domain=google.com; Path=/"))):
        before = set(tmp_path.rglob("*"))
        assert read() == DATA
        assert set(tmp_path.rglob("*")) == before
    assert not Path(tmp_path.parent, "outside.pth").exists()
    assert capfd.readouterr() == ("", "")


def test_the_cookies_of_the_user_are_neither_sent_nor_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    cookies = tmp_path / ".cache" / "gdown" / "cookies.txt"
    cookies.parent.mkdir(parents=True)
    cookies.write_text("# Netscape HTTP Cookie File\n.google.com\tTRUE\t/\tTRUE\t0\tSID\tsecret\n")
    before = cookies.read_bytes()
    with online(hosts(header(Set_Cookie="NID=1; Domain=google.com; Path=/"))) as internet:
        assert read() == DATA
    assert len(internet.log) == 2
    assert not [request for request in internet.log if "Cookie" in request.headers]
    assert cookies.read_bytes() == before


def test_no_module_of_the_working_folder_is_imported(tmp_path, monkeypatch):
    for name in ("gdown", "requests", "io"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    with online(hosts()):
        assert read() == DATA


def test_a_process_that_cannot_be_started_is_an_error_of_the_source(monkeypatch):
    monkeypatch.setattr("sys.executable", "/no/python")
    with online(hosts()), pytest.raises(SourceError, match=r"gdown cannot be started: No such file"):
        read()


def test_chunks_arrive_while_the_file_is_still_on_its_way():
    arrived, waits = threading.Event(), []

    def body():
        yield DATA[:2_000_000]
        waits.append(arrived.wait(10))
        yield DATA[2_000_000:]

    slow = hosts(lambda response: Response(200, body(), response.headers))
    with online(slow), open_stream(URL, patience=replace(QUICK, read_s=20)) as stream:
        first = next(stream.chunks)
        arrived.set()
        assert first + b"".join(stream.chunks) == DATA
    assert waits == [True]


# --- pages ---------------------------------------------------------------------------------------------------------


def test_a_used_up_quota_is_told_in_google_s_words():
    error, internet = refused_by(refused={FILE_ID: "quota"})
    assert error.message == 'expected the file, got 286 bytes of text/html ("Quota exceeded")'
    assert error.hint == "Google lifts the quota of a file after about a day"
    assert not error.permanent
    assert len(internet.requests(Drive.CONTENT)) == 2  # gdown's, and one to read the words


def test_a_quota_behind_the_form_is_told_as_well():
    drive = Drive({FILE_ID: DATA}, large=(FILE_ID,))
    quota = Drive({}, refused={FILE_ID: "quota"})

    def content(request):
        return (quota if "confirm=t" in request.path else drive).content(request)

    with online({**drive.hosts, Drive.CONTENT: content}), pytest.raises(SourceError, match='"Quota exceeded"'):
        read()


def test_a_sign_in_page_is_told():
    error, _ = refused_by(refused={FILE_ID: "sign-in"})
    assert error.permanent
    assert error.message == (
        'Google asks for a sign-in ("Sign in - Google Accounts"); the file is not shared with everybody'
    )


def test_a_file_that_is_gone_is_told():
    with online(hosts()), pytest.raises(SourceError) as caught:
        read(URL[:-3] + "abc")
    assert caught.value.message == "drive.usercontent.google.com: 404 Not Found"
    assert caught.value.permanent


def test_a_file_that_is_gone_is_asked_for_once():
    error, internet = refused_by(always=status(404))
    assert error.permanent
    assert len(internet.requests(Drive.CONTENT)) == 2


@pytest.mark.parametrize("code", [429, 503])
def test_a_host_in_trouble_is_asked_again(code):
    with online(hosts(status(code), status(code))):  # the second answers the question for the words
        assert read() == DATA


def test_patience_with_a_host_in_trouble_ends():
    error, internet = refused_by(always=status(503))
    assert error.message == "drive.usercontent.google.com: 503 Service Unavailable"
    assert not error.permanent
    assert len(internet.requests(Drive.CONTENT)) == 2 * QUICK.attempts


def test_a_long_wait_that_google_asks_for_is_left_to_the_caller():
    error, internet = refused_by(always=status(429, Retry_After="2460"))
    assert error.retry_after_s == 2460
    assert len(internet.requests(Drive.CONTENT)) == 2


def test_a_page_that_was_shown_once_only_is_not_the_end():
    with online(hosts(lambda _: page(200, "Moment please"))):
        assert read() == DATA


def test_a_confirm_page_that_repeats_is_not_followed_for_ever():
    form = Drive({FILE_ID: DATA}, large=(FILE_ID,))
    drive = {**form.hosts, Drive.CONTENT: lambda _: page(200, "Google Drive - Virus scan warning", form._form(FILE_ID))}
    start = time.monotonic()
    with online(drive) as internet, pytest.raises(SourceError) as caught:
        read()
    assert '("Virus scan warning")' in caught.value.message
    assert len(internet.log) < 50
    assert time.monotonic() - start < QUICK.first_byte_s


def silent(_):
    time.sleep(3)
    return Response(200, b"too late")


def slow_page(_):
    return Response(200, (time.sleep(0.05) or b"<p>" for _ in range(200)), {"Content-Type": "text/html"})


@pytest.mark.parametrize("host", [silent, slow_page])
def test_a_file_of_which_no_byte_comes_in_time_is_given_up(host):
    with online({**hosts(), Drive.CONTENT: host}), pytest.raises(SourceError) as caught:
        start = time.monotonic()
        try:
            read(patience=replace(QUICK, first_byte_s=1, read_s=5))
        finally:
            duration = time.monotonic() - start
    assert caught.value.message == "Google led to no file in time"
    assert duration < 3
    assert not list_children(os.getpid())


MEASURED_READ = """
import resource, sys
from pathlib import Path
from support.faults import QUICK
from reidhub.download.sources.gdrive import open_stream
try:
    with open_stream(sys.argv[1], patience=QUICK):
        pass
except Exception as error:
    print(error)
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)  # ru_maxrss would count the parent's memory
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process allocates")
@pytest.mark.parametrize("line", [b"<p>more</p>\n", b"more"], ids=["lines", "one line"])
def test_a_page_without_end_takes_little_memory_and_is_quoted(line):
    def endless_page(_):
        start = b"<html><title>Google Drive - Without end</title>"
        return Response(200, chain([start], repeat(line * 10_000)), {"Content-Type": "text/html"})

    start = time.monotonic()
    with Internet({**hosts(), Drive.CONTENT: endless_page}) as internet:
        command = [sys.executable, "-c", MEASURED_READ, URL]
        done = subprocess.run(command, env={**os.environ, **internet.environment}, capture_output=True, text=True)
    *message, own_mib, mib_of_gdown = done.stdout.splitlines()
    assert '("Without end")' in message[0], done.stderr
    assert max(int(own_mib), int(mib_of_gdown)) < 200
    assert time.monotonic() - start < QUICK.first_byte_s


def test_page_that_never_ends_is_left_in_time():
    broken = page(200, "A new design", '<form id="download-form"></form>')
    start = time.monotonic()
    slow = hosts(lambda _: broken, always=lambda _: Response(200, drip(b"<html>", b"a"), {"Content-Type": "text/html"}))
    with online(slow), pytest.raises(SourceError, match=r"google\.com: the answer was not complete in time"):
        read()
    assert time.monotonic() - start < 10


# --- bodies --------------------------------------------------------------------------------------------------------


def test_a_cut_before_the_first_bytes_is_tried_again():
    with online(hosts(drop(0))):
        assert read() == DATA


def test_a_cut_midway_is_an_error_that_says_where():
    error, _ = refused_by(always=drop(2_000_000))
    assert error.message.startswith("Google ended the file early after ")
    assert error.message.endswith(f" of {len(DATA)} bytes")


def test_a_cut_of_a_body_without_a_length_is_for_the_reader_to_find():
    with online(hosts(unsized)), open_stream(URL, patience=QUICK) as stream:
        assert stream.size is None
        assert b"".join(stream.chunks) == DATA


def test_a_length_too_great_is_an_error():
    error, _ = refused_by(always=announce(len(DATA) + 16))
    assert "ended the file early" in error.message


def test_a_stalled_body_is_an_error():
    error, _ = refused_by(always=stall(2_000_000))
    assert "drive.google.com: the connection broke after" in error.message


def test_all_time_ends():
    error, _ = refused_by(always=stall(2_000_000, 1.0), patience=replace(QUICK, total_s=0.3, read_s=5))
    assert error.message == "not done in time"


def test_a_wrong_bit_is_for_the_reader_to_find():
    with online(hosts(flip(1000))):
        assert read() != DATA


def endless_file(response):
    return header(Content_Disposition='attachment; filename="a"')(endless(response))


def test_an_endless_body_costs_no_more_than_is_read():
    with online(hosts(endless_file)):
        with open_stream(URL, patience=QUICK) as stream:
            assert stream.size is None
            assert sum(len(next(stream.chunks)) for _ in range(20)) > 1_000_000
            assert list_children(os.getpid())
        assert not list_children(os.getpid())


def test_a_page_under_a_file_s_name_is_found_out():
    named = header(Content_Disposition='attachment; filename="a.pth"')
    with online(hosts(lambda _: named(page(200, "Surprise")))), pytest.raises(IntegrityError, match='"Surprise"'):
        read()


def test_what_gdown_falls_over_is_told_in_google_s_words():
    broken = page(200, "A new design", '<form id="download-form"></form>')
    error, _ = refused_by(always=lambda _: broken)
    assert str(error.__cause__) == "KeyError"
    assert error.message.endswith('bytes of text/html ("A new design")')


# --- the end of the process ------------------------------------------------------------------------------------------

BIG = File("big", random.Random(5).randbytes(3_000_000), kinds=("gdrive",))


@contextmanager
def stuck_at(held):
    """An internet in which Drive's answer stops behind ``held`` bytes of the file until the block ends."""
    left = threading.Event()
    drive = Drive({BIG.drive_id: BIG.data})

    def content(request):
        response = drive.content(request)

        def body():
            yield response.body[:held]
            left.wait(20)

        return Response(200, body(), {**response.headers, "Content-Length": str(len(response.body))})

    with Internet({**drive.hosts, Drive.CONTENT: content}) as internet:
        try:
            yield internet
        finally:
            left.set()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
@pytest.mark.parametrize("held", [0, 2_000_000], ids=["before the file", "within the file"])
def test_a_process_that_ends_leaves_neither_gdown_nor_a_temporary_file(held, how, tmp_path, reidhub_home):
    manifest = write_manifest(tmp_path / "zoo.yaml", [BIG])
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with stuck_at(held) as internet:
        command = [sys.executable, "-m", "reidhub", "--manifest", str(manifest), "download", BIG.name]
        environment = shell(internet, reidhub_home, TMPDIR=str(temporary))
        with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1) as process:
            wait_for(lambda: internet.requests(Drive.CONTENT))
            if held:
                wait_for(lambda: any(len(data) >= 1_000_000 for data in files_below(reidhub_home).values()))
            (gdown,) = list_children(process.pid)
            start = time.monotonic()
            process.send_signal(how)
            output = process.communicate(timeout=10)[1].decode()
        wait_for(lambda: not is_running(gdown))
        assert time.monotonic() - start < 5
    assert output.strip() == ("Aborted!" if how is signal.SIGINT else "")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("held", [0, 2_000_000], ids=["before the file", "within the file"])
def test_the_stop_event_ends_gdown_although_no_byte_comes(held, tmp_path, reidhub_home, monkeypatch):
    stop, stopped_at = threading.Event(), []
    options = FetchOptions(patience=replace(QUICK, read_s=15, first_byte_s=15, stop=stop))

    def set_stop():
        wait_for(lambda: internet.requests(Drive.CONTENT))
        time.sleep(0.5)
        stopped_at.append(time.monotonic())
        stop.set()

    with stuck_at(held) as internet:
        for name, value in internet.environment.items():
            monkeypatch.setenv(name, value)
        threading.Thread(target=set_stop).start()
        with pytest.raises(CancelledError):
            Fetcher(Cache(), options).fetch(BIG.checkpoint(tmp_path))
        assert time.monotonic() - stopped_at[0] < 5
        assert len(internet.requests(Drive.CONTENT)) == 1
    assert not list_children(os.getpid())
