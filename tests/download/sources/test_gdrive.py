"""Google Drive over the loopback internet, through the real gdown."""

import random
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.faults import QUICK, announce, drop, endless, flip, header, spoiled, stall, status, unsized

from reidhub.download.sources.gdrive import id_of, open_stream
from reidhub.errors import IntegrityError, SourceError
from reidhub.testing.hosts import Drive, page
from reidhub.testing.internet import Response, online

FILE_ID = "1-CaioD9NaqbHK_kzSMW8VE4_3KcsRjEo"
URL = f"https://drive.google.com/uc?id={FILE_ID}"
DATA = b"\x80\x02" + random.Random(4).randbytes(5_000_001)


def hosts(*edits, always=None, large=(), refused=None, data=DATA):
    drive = Drive({FILE_ID: data}, large=large, refused=refused)
    return {**drive.hosts, Drive.CONTENT: spoiled(drive.content, *edits, always=always)}


def read(url=URL, patience=QUICK):
    with open_stream(url, patience=patience) as stream:
        return b"".join(stream.chunks)


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
    assert id_of(url) == FILE_ID


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
        id_of(url)
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
        assert (stream.offset, stream.state()) == (0, {})


def test_no_file_is_written_nothing_printed_and_no_cookie_kept(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    with online(hosts(header(Set_Cookie="NID=1; Domain=google.com; Path=/"))):
        assert read() == DATA
    assert set(tmp_path.rglob("*")) == before
    assert not Path(tmp_path.parent, "outside.pth").exists()
    assert capfd.readouterr() == ("", "")


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


def test_a_page_that_never_ends_is_left_at_the_deadline():
    start = time.monotonic()
    error, _ = refused_by(always=endless_page, patience=replace(QUICK, first_byte_s=0.5))
    assert error.message == "Google led to no file in time"
    assert time.monotonic() - start < 5


def endless_page(_):
    return Response(200, (time.sleep(0.05) or b"<p>" for _ in range(200)), {"Content-Type": "text/html"})


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


def test_an_endless_body_costs_no_more_than_is_read():
    endless_file = header(Content_Disposition='attachment; filename="a"')
    with online(hosts(lambda response: endless_file(endless(response)))) as internet:
        with open_stream(URL, patience=QUICK) as stream:
            assert stream.size is None
            assert sum(len(next(stream.chunks)) for _ in range(20)) > 1_000_000
        assert not [thread for thread in threading.enumerate() if thread.name == "reidhub-gdrive"], internet


def test_a_page_under_a_file_s_name_is_found_out():
    named = header(Content_Disposition='attachment; filename="a.pth"')
    with online(hosts(lambda _: named(page(200, "Surprise")))), pytest.raises(IntegrityError, match='"Surprise"'):
        read()


def test_what_gdown_falls_over_is_told_in_google_s_words():
    broken = page(200, "A new design", '<form id="download-form"></form>')
    error, _ = refused_by(always=lambda _: broken)
    assert isinstance(error.__cause__, KeyError)
    assert error.message.endswith('bytes of text/html ("A new design")')
