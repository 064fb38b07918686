"""Asking a source for its file without fetching it."""

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.faults import QUICK, chunked, drop, spoiled, status, unsized
from support.source_kinds import DATA, FILE_ID, KINDS, PAGE, offered

from reidhub.download.sources import probe
from reidhub.errors import IntegrityError, SourceError, UsageError
from reidhub.testing.hosts import Drive, Mega, Static, mega_link
from reidhub.testing.internet import online
from reidhub.zoo.artifact import Source

URL = "https://example.org/a.pth"
LARGE = b"\x80\x02" + bytes(40_000_000)


class Counted:
    """A host, and how many bytes of its bodies were taken from it; the rest stays with it."""

    def __init__(self, host):
        self.host, self.taken = host, 0

    def __call__(self, request):
        response = self.host(request)
        body = response.body
        response.headers.setdefault("Content-Length", str(len(body)))
        response.body = self._blocks(body)
        return response

    def _blocks(self, body):
        for start in range(0, len(body), 65536):
            block = body[start : start + 65536]
            self.taken += len(block)
            yield block


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_tells_the_size(kind, tmp_path):
    source, hosts = offered(kind, DATA, tmp_path)
    with online(hosts):
        assert probe(source, patience=QUICK) == len(DATA)


@pytest.mark.parametrize("kind", ["mega", "gdrive", "https"])
def test_the_file_itself_stays_with_the_host(kind, tmp_path):
    source, hosts = offered(kind, LARGE, tmp_path)
    counted = {name: Counted(host) for name, host in hosts.items()}
    with online(counted):
        assert probe(source, patience=QUICK) == len(LARGE)
    # What a host pushes into the sockets' buffers before the connection is closed cannot be asked back.
    assert sum(host.taken for host in counted.values()) < len(LARGE) / 4


def test_a_host_that_grants_ranges_sends_the_first_bytes_alone():
    counted = Counted(Static({"/a.pth": LARGE}))
    with online({"example.org": counted}):
        probe(Source("https", URL), patience=QUICK)
    assert counted.taken == 1024


@pytest.mark.parametrize("kind", ["gdrive", "https", "local"])
@pytest.mark.parametrize("content", [PAGE, b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"])
def test_a_page_or_a_pointer_is_no_file(kind, content, tmp_path):
    source, hosts = offered(kind, content, tmp_path)
    with online(hosts), pytest.raises(IntegrityError, match="expected a checkpoint file"):
        probe(source, patience=QUICK)


@pytest.mark.parametrize("kind", ["mega", "gdrive", "https"])
def test_a_host_that_is_gone_is_told(kind, tmp_path):
    source, _ = offered(kind, DATA, tmp_path)
    with online({}), pytest.raises(SourceError, match="no connection through the proxy"):
        probe(source, patience=QUICK)


@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_location_is_refused_for_good_and_without_a_request(kind):
    with online({}) as internet, pytest.raises(SourceError) as caught:
        probe(Source(kind, "ftp://[nowhere/\x00"))
    assert caught.value.permanent
    assert internet.log == []


def test_a_kind_that_nobody_knows_is_wrong_usage():
    with pytest.raises(UsageError, match="unknown source kind 'ftp'"):
        probe(Source("ftp", "ftp://example.org/a"))


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_of_a_web_host_is_for_good(code):
    with online({"example.org": lambda _: status(code)(None)}), pytest.raises(SourceError, match=str(code)) as caught:
        probe(Source("https", URL), patience=QUICK)
    assert caught.value.permanent


@pytest.mark.parametrize("edit", [drop(100), status(503)], ids=["cut", "busy"])
def test_a_host_that_stumbles_is_asked_again(edit):
    with online({"example.org": spoiled(Static({"/a.pth": DATA}), edit)}) as internet:
        assert probe(Source("https", URL), patience=QUICK) == len(DATA)
    assert len(internet.log) == 2


@pytest.mark.parametrize("edit", [unsized, chunked], ids=["unsized", "chunked"])
def test_a_host_that_tells_no_size_is_alive_all_the_same(edit):
    def host(request):
        del request.headers["Range"]
        return edit(Static({"/a.pth": DATA})(request))

    with online({"example.org": host}):
        assert probe(Source("https", URL), patience=QUICK) is None


def test_the_token_for_hugging_face_goes_there_alone(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    front = Static({}, redirects={"/a.pth": "https://cdn.example.net/b"})
    with online({"huggingface.co": front, "cdn.example.net": Static({"/b": DATA})}) as internet:
        assert probe(Source("https", "https://huggingface.co/a.pth"), patience=QUICK) == len(DATA)
    tokens = {request.host: request.headers.get("Authorization") for request in internet.log}
    assert tokens == {"huggingface.co": "Bearer hf_secret", "cdn.example.net": None}


@pytest.mark.parametrize(
    ("refused", "words"),
    [("quota", r'got \d+ bytes of text/html \("Quota exceeded"\)'), ("sign-in", "Google asks for a sign-in")],
)
def test_the_page_of_drive_is_quoted(refused, words):
    drive = Drive({FILE_ID: DATA}, refused={FILE_ID: refused})
    with online(drive.hosts), pytest.raises(SourceError, match=words):
        probe(Source("gdrive", f"https://drive.google.com/uc?id={FILE_ID}"), patience=QUICK)


def test_a_large_file_behind_drives_form_tells_its_size():
    drive = Drive({FILE_ID: DATA}, large=(FILE_ID,))
    with online(drive.hosts):
        assert probe(Source("gdrive", f"https://drive.google.com/uc?id={FILE_ID}"), patience=QUICK) == len(DATA)


def test_a_file_that_mega_removed_is_gone_for_good():
    with online(Mega({}).hosts), pytest.raises(SourceError, match="no such file") as caught:
        probe(Source("mega", mega_link("AbCdEfGh", DATA)), patience=QUICK)
    assert caught.value.permanent


def test_megas_storage_is_not_asked(tmp_path):
    source, hosts = offered("mega", os.urandom(1000), tmp_path)
    with online(hosts) as internet:
        probe(source, patience=QUICK)
    assert {request.host for request in internet.log} == {Mega.API}


def test_a_web_host_without_tls_tells_the_size_as_well(tmp_path):
    (tmp_path / "a.pth").write_bytes(DATA)
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = probe(Source("http", f"http://127.0.0.1:{server.server_port}/a.pth"), patience=QUICK)
        server.shutdown()
    assert found == len(DATA)
