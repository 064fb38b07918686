"""Plain web hosts over the loopback internet."""

import gc
import json
import random
import re
import ssl
import time
from dataclasses import replace

import pytest
from support.faults import (
    QUICK,
    announce,
    chunked,
    cut_chunked,
    drop,
    endless,
    flip,
    header,
    shorter,
    spoiled,
    stall,
    status,
    unsized,
)

from reidhub.download.sources import Resume
from reidhub.download.sources.https import open_stream, probe
from reidhub.errors import IntegrityError, SourceError
from reidhub.testing.hosts import Static
from reidhub.testing.internet import Response, online

DATA = b"\x80\x02" + random.Random(2).randbytes(3_000_001)
URL = "https://example.org/zoo/a.pth"
HF = "https://huggingface.co/kaiyangzhou/osnet/resolve/main/a.pth"
CDN = "https://cdn.example.net/blob"


def host(*edits, always=None, data=DATA):
    return {"example.org": spoiled(Static({"/zoo/a.pth": data}), *edits, always=always)}


def read(url=URL, patience=QUICK, **options):
    with open_stream(url, patience=patience, **options) as stream:
        return b"".join(stream.chunks)


def refused(*edits, url=URL, patience=QUICK, **options):
    with online(host(*edits, **options)) as internet, pytest.raises(SourceError) as caught:
        read(url, patience)
    return caught.value, internet


def ranges(internet):
    return [request.headers.get("Range") for request in internet.requests("example.org")]


# --- one file ------------------------------------------------------------------------------------------------------


def test_the_body_is_asked_for_uncompressed():
    with online(host()) as internet:
        assert read() == DATA
    [request] = internet.log
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["User-Agent"].startswith("reidhub/")
    assert "Authorization" not in request.headers


def test_a_body_that_comes_compressed_nevertheless_is_an_error():
    error, _ = refused(header(Content_Encoding="gzip"))
    assert error.message == "example.org: the file came compressed, which was not asked for"


@pytest.mark.parametrize(
    ("code", "words"),
    [(401, "401 Unauthorized"), (403, "403 Forbidden"), (404, "404 Not Found"), (410, "410 Gone"), (418, "418 I'm a")],
)
def test_what_is_gone_or_closed_is_asked_for_once(code, words):
    error, internet = refused(always=status(code, b"<html><title>x</title></html>"))
    assert error.message.startswith(f"example.org: {words}")
    assert error.permanent
    assert len(internet.log) == 1


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_host_in_trouble_is_asked_again(code):
    with online(host(status(code), status(code))) as internet:
        assert read() == DATA
    assert len(internet.log) == 3


def test_patience_with_a_host_in_trouble_ends():
    error, internet = refused(always=status(503))
    assert (error.message, error.permanent) == ("example.org: 503 Service Unavailable", False)
    assert len(internet.log) == QUICK.attempts


def test_a_long_wait_that_the_host_asks_for_is_left_to_the_caller():
    error, internet = refused(always=status(429, Retry_After="2460"))
    assert error.message == "example.org: 429 Too Many Requests; try again in 41 min"
    assert (error.retry_after_s, len(internet.log)) == (2460, 1)


def test_a_wait_until_a_date_is_understood():
    error, _ = refused(always=status(503, Retry_After="Fri, 31 Dec 2100 23:59:59 GMT"))
    assert error.retry_after_s > 1e9


NO_WAIT = ["soon", "-5", "", "1e9", "Fri, 99 Foo", f"Fri, 31 Dec {'9' * 20} 23:59:59 GMT", "9" * 5000 + " Dec 2100"]
NO_WAIT += ["Fri, 31 Dec 2100 23:59:59 +99999999999999"]


@pytest.mark.parametrize("text", NO_WAIT)
def test_a_wait_that_makes_no_sense_is_ignored(text):
    with online(host(status(503, Retry_After=text))):
        assert read() == DATA


@pytest.mark.parametrize(
    "url", ["http://example.org/zoo/a.pth", "https:///a", "https://u:pw@example.org/a", "https://["]
)
def test_an_address_without_tls_or_with_a_password_is_refused(url):
    error, internet = refused(url=url)
    assert error.permanent
    assert "pw" not in error.message
    assert internet.log == []


# --- redirects and the token ---------------------------------------------------------------------------------------


def redirected(target):
    path = HF.removeprefix("https://huggingface.co")
    return {"huggingface.co": Static({}, redirects={path: target}), "cdn.example.net": Static({"/blob": DATA})}


def test_a_token_goes_to_its_host_and_to_no_other(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with online({**redirected(CDN), **host()}) as internet:
        assert read(HF) == read() == DATA
    assert [request.headers.get("Authorization") for request in internet.log] == ["Bearer hf_secret", None, None]


def test_no_token_no_header():
    with online(redirected(CDN)) as internet:
        assert read(HF) == DATA
    assert all("Authorization" not in request.headers for request in internet.log)


def test_a_token_with_a_line_break_is_refused_and_not_told(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_sec\nret")
    with online(redirected(CDN)) as internet, pytest.raises(SourceError) as caught:
        read(HF)
    assert "HF_TOKEN" in caught.value.message
    assert "sec" not in caught.value.message
    assert internet.log == []


@pytest.mark.parametrize("target", ["http://cdn.example.net/blob", "file:///etc/passwd", "ftp://cdn.example.net/blob"])
def test_a_redirect_away_from_tls_is_not_followed(target):
    with online(redirected(target)) as internet, pytest.raises(SourceError, match="without TLS"):
        read(HF)
    assert len(internet.log) == 1


def test_a_redirect_may_name_only_a_path():
    files = Static({"/b": DATA}, redirects={"/zoo/a.pth": "/b"})
    with online({"example.org": files}):
        assert read() == DATA


def test_redirect_may_name_a_path_in_utf_8():
    files = Static({"/%C3%A9%20%25.pth": DATA}, redirects={"/zoo/a.pth": "/é %25.pth".encode().decode("latin-1")})
    with online({"example.org": files}):
        assert read() == DATA


def test_redirects_in_a_circle_end():
    circle = Static({}, redirects={"/zoo/a.pth": URL})
    with online({"example.org": circle}) as internet, pytest.raises(SourceError, match="more than 10 redirects"):
        read()
    assert len(internet.log) == 11


def test_a_redirect_to_a_sign_in_page_is_told_by_its_words():
    page = b"<html><title>Log in</title></html>"
    with online({**redirected(URL), **host(data=page)}), pytest.raises(IntegrityError, match='"Log in"'):
        probe(HF, patience=QUICK)


MIRROR = "https://hub.example.net/hf"


def mirrored(monkeypatch, endpoint=MIRROR):
    """A mirror of the Hub, which redirects to another host, as the Hub does."""
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    path = HF.removeprefix("https://huggingface.co")
    return {"hub.example.net": Static({}, redirects={f"/hf{path}": CDN}), "cdn.example.net": Static({"/blob": DATA})}


@pytest.mark.parametrize("endpoint", [MIRROR, f" {MIRROR}/"])
def test_mirror_of_the_hub_is_asked_in_its_place_with_the_token(endpoint, monkeypatch):
    with online({**mirrored(monkeypatch, endpoint), **redirected(CDN)}) as internet:
        assert read(HF) == DATA
        assert probe(HF, patience=QUICK) == len(DATA)
    tokens = [(request.host, request.headers.get("Authorization")) for request in internet.log]
    assert tokens == [("hub.example.net", "Bearer hf_secret"), ("cdn.example.net", None)] * 2


def test_mirror_of_the_hub_is_asked_for_no_other_file(monkeypatch):
    with online({**mirrored(monkeypatch), **host()}) as internet:
        assert read() == DATA
    assert [(request.host, request.headers.get("Authorization")) for request in internet.log] == [("example.org", None)]


@pytest.mark.parametrize(
    "endpoint", ["http://hub.example.net", "hub.example.net", "https://[", "https://u:hunter2@h/", "https://h/?a=b"]
)
def test_mirror_of_the_hub_without_tls_is_refused_and_the_hub_is_not_asked_instead(endpoint, monkeypatch):
    world = mirrored(monkeypatch, endpoint)
    with online({**world, **redirected(CDN), **host()}) as internet:
        with pytest.raises(SourceError, match=r"\$HF_ENDPOINT is not an https address") as caught:
            read(HF)
        assert internet.log == []
        assert read() == DATA
    assert "hunter2" not in str(caught.value)


def test_entry_in_netrc_does_not_replace_the_token(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine huggingface.co login ann password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with online(redirected(CDN)) as internet:
        assert read(HF) == DATA
    assert [request.headers.get("Authorization") for request in internet.log] == ["Bearer hf_secret", None]


# --- connections that break ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 2000, 131_072, 2_999_999])
def test_a_dropped_connection_goes_on_where_it_was(at):
    with online(host(drop(at))) as internet:
        assert read() == DATA
    assert ranges(internet) == [None, f"bytes={at}-"]
    assert internet.log[1].headers["If-Range"].startswith('"')


def test_a_connection_cut_again_and_again_ends_well_while_there_is_progress():
    with online(host(always=drop(200_000))) as internet:
        assert read() == DATA
    assert len(internet.log) == 16


def test_cuts_without_progress_end():
    error, internet = refused(drop(500_000), always=drop(0))
    assert error.message == f"example.org: the connection broke after 500000 of {len(DATA)} bytes"
    assert len(internet.log) == QUICK.attempts


def test_a_stalled_connection_is_left_and_gone_on_with():
    with online(host(stall(300_000))) as internet:
        assert read() == DATA
    assert ranges(internet) == [None, "bytes=300000-"]


def test_a_host_that_never_answers_is_left():
    slow = Static({"/zoo/a.pth": DATA})

    def silent(request):
        time.sleep(1)
        return slow(request)

    patience = replace(QUICK, read_s=0.2)
    with online({"example.org": silent}), pytest.raises(SourceError, match="no answer in time"):
        read(patience=patience)


def test_all_time_ends():
    error, _ = refused(always=stall(300_000, 0.5), patience=replace(QUICK, total_s=0.2, read_s=5))
    assert error.message == "not done after 0 s"


def test_without_a_name_for_the_state_of_the_file_nothing_is_joined():
    error, internet = refused(lambda response: drop(1000)(header(ETag=None)(response)))
    assert error.message == f"example.org: the connection broke after 1000 of {len(DATA)} bytes"
    assert len(internet.log) == 1


def test_a_weak_tag_is_not_enough_but_a_date_is():
    dated = header(ETag='W/"1"', Last_Modified="Tue, 01 Jul 2025 10:00:00 GMT")
    with online(host(lambda response: drop(1000)(dated(response)))) as internet, pytest.raises(SourceError):
        read()  # the loopback host knows tags only, so it sends the whole file of another name
    assert internet.log[1].headers["If-Range"] == "Tue, 01 Jul 2025 10:00:00 GMT"


def test_a_range_that_is_ignored_midway_costs_the_bytes_again():
    whole = Static({"/zoo/a.pth": DATA})

    def no_ranges(request):
        del request.headers["Range"]
        return whole(request)

    with online({"example.org": spoiled(no_ranges, drop(2_000_000), drop(2_500_000))}) as internet:
        assert read() == DATA
    assert len(internet.log) == 3


def find_open_sockets():
    return {found for found in gc.get_objects() if type(found) is ssl.SSLSocket and found.fileno() != -1}


def test_answer_with_two_lengths_is_an_error_and_its_connection_is_closed():
    before = find_open_sockets()
    error, _ = refused(always=lambda _: Response(head=[b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"]))
    assert error.message == "example.org: the connection broke"
    assert find_open_sockets() <= before


def test_malformed_header_is_ignored_and_no_address_is_logged(caplog):
    head = b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 1\r\n\r\n"
    with online({"example.org": lambda _: Response(200, b"\x80", head=[head])}):
        assert read(f"{URL}?key=secret") == b"\x80"
    assert caplog.text == ""


def test_a_file_that_is_replaced_midway_is_not_joined():
    first, second = Static({"/zoo/a.pth": DATA}), Static({"/zoo/a.pth": DATA[::-1]})
    answers = iter([spoiled(first, drop(1000)), second])
    with online({"example.org": lambda request: next(answers)(request)}), pytest.raises(SourceError, match="replaced"):
        read()


@pytest.mark.parametrize(
    "given",
    [
        "bytes 0-3000002/3000003",
        "bytes 999-3000002/3000003",
        "bytes 1000-2000/3000003",
        "",
        f"bytes 1000-2/{'9' * 5000}",
    ],
    ids=["from 0", "from 999", "too short", "none", "huge"],
)
def test_another_range_than_asked_for_is_an_error(given):
    error, _ = refused(drop(1000), header(Content_Range=given))
    assert isinstance(error, IntegrityError)
    assert error.message == f"asked for the bytes from 1000 on, got {given[:60]!r}"


def test_a_range_of_a_file_of_another_size_is_an_error():
    error, _ = refused(drop(1000), header(Content_Range="bytes 1000-4999/5000"))
    assert error.message == f"expected {len(DATA)} bytes, the host now offers 5000"


def test_a_length_too_great_is_told():
    error, _ = refused(announce(len(DATA) + 16))
    assert isinstance(error, IntegrityError)
    assert error.message == f"the host announced {len(DATA) + 16} bytes and ends after {len(DATA)}"


def test_a_length_of_thousands_of_digits_is_taken_for_none():
    def absurd(response):
        return Response(200, [DATA], {**response.headers, "Content-Length": "9" * 5000, "Connection": "close"})

    with online(host(absurd)), open_stream(URL, patience=QUICK) as stream:
        assert stream.size is None


def test_a_body_without_a_length_is_read_to_its_end():
    with online(host(unsized)), open_stream(URL, patience=QUICK) as stream:
        assert stream.size is None
        assert b"".join(stream.chunks) == DATA


def test_a_body_in_chunks_is_read_to_its_end():
    with online(host(chunked)), open_stream(URL, patience=QUICK) as stream:
        assert stream.size is None
        assert b"".join(stream.chunks) == DATA


def test_a_body_in_chunks_that_is_cut_goes_on_where_it_was():
    with online(host(cut_chunked(1_000_000))) as internet:
        assert read() == DATA
    assert len(internet.log) == 2


def test_an_endless_body_is_endless_only_for_who_reads_on():
    with online(host(endless)), open_stream(URL, patience=QUICK) as stream:
        assert stream.size is None
        assert sum(len(next(stream.chunks)) for _ in range(40)) > 5_000_000


def test_the_size_is_claimed_not_checked():
    with online(host(shorter(16))), open_stream(URL, patience=QUICK) as stream:
        assert stream.size == len(DATA) - 16


# --- going on later ------------------------------------------------------------------------------------------------


def half():
    """Bytes held after a break, and the state at that point."""
    with online(host()), open_stream(URL, patience=QUICK) as stream:
        held = b""
        while len(held) < 1_000_000:
            held += next(stream.chunks)
        return held, json.loads(json.dumps(stream.state))


def test_a_download_goes_on_at_the_very_byte():
    held, state = half()
    with online(host()) as internet, open_stream(URL, patience=QUICK, resume=Resume(len(held), state)) as stream:
        assert (stream.offset, stream.size) == (len(held), len(DATA))
        assert held + b"".join(stream.chunks) == DATA
    assert ranges(internet) == [f"bytes={len(held)}-"]


def test_a_resume_may_break_as_well():
    held, state = half()
    with online(host(drop(1000))) as internet:
        assert held + read(resume=Resume(len(held), state)) == DATA
    assert ranges(internet) == [f"bytes={len(held)}-", f"bytes={len(held) + 1000}-"]


def test_a_file_that_was_replaced_starts_over():
    held, state = half()
    other = b"\x80" + DATA
    with online(host(data=other)), open_stream(URL, patience=QUICK, resume=Resume(len(held), state)) as stream:
        assert stream.offset == 0
        assert b"".join(stream.chunks) == other


def test_a_file_that_is_held_whole_is_asked_for_its_last_byte():
    _, state = half()
    with online(host()) as internet, open_stream(URL, patience=QUICK, resume=Resume(len(DATA), state)) as stream:
        assert stream.offset == len(DATA) - 1
        assert b"".join(stream.chunks) == DATA[-1:]
    assert ranges(internet) == [f"bytes={len(DATA) - 1}-"]


def test_a_resume_behind_the_end_starts_over():
    state = {"validator": half()[1]["validator"]}
    with online(host()) as internet, open_stream(URL, patience=QUICK, resume=Resume(10**8, state)) as stream:
        assert stream.offset == 0
        assert b"".join(stream.chunks) == DATA
    assert [re.sub(r"\d+", "N", text or "") for text in ranges(internet)] == ["bytes=N-", ""]


@pytest.mark.parametrize("state", [{}, {"validator": None}, {"validator": 5}, {"size": 3}])
def test_a_resume_without_a_name_for_the_file_starts_over(state):
    with online(host()) as internet, open_stream(URL, patience=QUICK, resume=Resume(5, state)) as stream:
        assert stream.offset == 0
        assert b"".join(stream.chunks) == DATA
    assert ranges(internet) == [None]


def test_a_wrong_bit_is_for_the_reader_to_find():
    with online(host(flip(1000))):
        assert read() != DATA
