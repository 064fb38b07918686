"""The user's own mirror: a folder, a web address with TLS and one without."""

import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.faults import QUICK
from support.generated_zoo import File, content, hosts, stored

from reidhub.cache.store import Cache
from reidhub.download.fetch import Fetcher, FetchOptions
from reidhub.download.sources import open_stream
from reidhub.download.user_mirror import find_in_mirror
from reidhub.errors import FetchError, SourceError, UsageError
from reidhub.testing.hosts import Static
from reidhub.testing.internet import online
from reidhub.zoo.artifact import Source

ONE = File("one", content(700_001))
LOOSE = File("loose", content(300_000), pinned=False)
BARE = File("bare", content(250_000), kinds=("gdrive",), pinned=False)
HOST = "mirror.example.net"


def fetched(file, folder, **terms):
    terms = replace(FetchOptions(patience=QUICK), **terms)
    return Fetcher(Cache(folder / "cache"), terms).fetch(file.checkpoint(folder)).read_bytes()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A mirror on a disk."""
    path = tmp_path / "a mirror"
    path.mkdir()
    for file in (ONE, LOOSE, BARE):
        (path / f"{file.name}.pth").write_bytes(file.data)
    monkeypatch.setenv("REIDHUB_MIRROR", str(path))
    return path


@contextmanager
def plain_host(monkeypatch, files, redirects=None):
    """A real web server without TLS on the loopback, reached without a proxy."""
    static, log = Static(files, redirects=redirects), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.host, self.method, self.body = "plain", "GET", b""
            log.append(self.path)
            response = static(self)
            self.send_response(response.status)
            for name, value in {"Content-Length": str(len(response.body)), **response.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, *_):
            pass

    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", log
        server.shutdown()


def test_where_a_mirror_has_a_file(tmp_path, monkeypatch):
    checkpoint = ONE.checkpoint(tmp_path)
    assert find_in_mirror(checkpoint) is None
    for mirror, source in {
        "/srv/zoo": Source("local", f"file:///srv/zoo/{ONE.name}.pth"),
        "/srv/a b/": Source("local", f"file:///srv/a%20b/{ONE.name}.pth"),
        "file:///srv/zoo/": Source("local", f"file:///srv/zoo/{ONE.name}.pth"),
        "https://host/zoo/": Source("https", f"https://host/zoo/{ONE.name}.pth"),
        "http://host:81": Source("http", f"http://host:81/{ONE.name}.pth"),
    }.items():
        monkeypatch.setenv("REIDHUB_MIRROR", mirror)
        assert find_in_mirror(checkpoint) == source


@pytest.mark.parametrize("mirror", ["ftp://host/zoo", "https://", "https://[", "https://host/?a=b", "s3://bucket"])
def test_a_mirror_of_no_known_form_is_a_mistake_of_the_user(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("REIDHUB_MIRROR", mirror)
    with pytest.raises(UsageError, match=r"\$REIDHUB_MIRROR is"):
        fetched(ONE, tmp_path)


def test_a_mirror_in_a_home_folder_that_does_not_exist_is_a_usage_error(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDHUB_MIRROR", "~no-such-user/zoo")
    with pytest.raises(UsageError, match=r"\$REIDHUB_MIRROR leads to no folder: '~no-such-user/zoo'\nhint: a folder"):
        fetched(ONE, tmp_path)


@pytest.mark.parametrize("file", [ONE, LOOSE, BARE], ids=lambda file: file.tag)
def test_a_folder_is_asked_before_every_host(file, folder, tmp_path):
    with online({}) as internet:
        assert fetched(file, tmp_path) == file.data
    assert internet.log == []


@pytest.mark.parametrize("file", [ONE, LOOSE, BARE], ids=lambda file: file.tag)
def test_a_web_address_is_asked_before_every_host(file, tmp_path, monkeypatch):
    monkeypatch.setenv("REIDHUB_MIRROR", f"https://{HOST}/zoo")
    with online({HOST: Static({f"/zoo/{file.name}.pth": file.data}), **hosts([file])}) as internet:
        assert fetched(file, tmp_path) == file.data
    assert {request.host for request in internet.log} == {HOST}


@pytest.mark.parametrize("file", [ONE, LOOSE], ids=lambda file: file.tag)
def test_what_a_mirror_gives_is_held_to_the_same_digest_and_mac(file, folder, tmp_path):
    (folder / f"{file.name}.pth").write_bytes(file.data[:-1] + b"\0")
    with online(hosts([file])) as internet:
        assert fetched(file, tmp_path) == file.data
    assert internet.log != []


def test_a_file_that_a_mirror_does_not_have_comes_from_its_sources(folder, tmp_path):
    (folder / f"{ONE.name}.pth").unlink()
    with online(hosts([ONE])):
        assert fetched(ONE, tmp_path) == ONE.data


def test_a_mirror_that_fails_is_named_in_the_error(folder, tmp_path):
    (folder / f"{ONE.name}.pth").unlink()
    with online({}), pytest.raises(FetchError) as caught:
        fetched(ONE, tmp_path)
    lines = caught.value.message.splitlines()
    assert lines[0].startswith("none of 4 sources gave")
    assert lines[1] == f"  mirror  cannot read {folder}/{ONE.name}.pth: No such file or directory"


def test_a_mirror_is_left_alone_where_another_kind_is_insisted_on(folder, tmp_path):
    with online(hosts([ONE])) as internet:
        assert fetched(ONE, tmp_path, kind="gdrive") == ONE.data
    assert internet.log != []


def test_a_mirror_without_tls_gives_a_file_with_a_sha256(tmp_path, monkeypatch):
    with plain_host(monkeypatch, {f"/zoo/{ONE.name}.pth": ONE.data}) as (address, log):
        monkeypatch.setenv("REIDHUB_MIRROR", f"{address}/zoo")
        assert fetched(ONE, tmp_path) == ONE.data
    assert log == [f"/zoo/{ONE.name}.pth"]


def test_a_wrong_file_from_a_mirror_without_tls_is_found_out(tmp_path, monkeypatch):
    with plain_host(monkeypatch, {f"/{ONE.name}.pth": content(700_001, seed=4)}) as (address, log):
        monkeypatch.setenv("REIDHUB_MIRROR", address)
        with pytest.raises(FetchError, match=r"mirror +expected sha256"):
            fetched(ONE, tmp_path, kind="https")
    assert len(log) == 1
    assert stored(tmp_path / "cache") == {}


@pytest.mark.parametrize("file", [LOOSE, BARE], ids=lambda file: file.tag)
def test_a_mirror_without_tls_is_not_asked_for_a_file_without_a_sha256(file, tmp_path, monkeypatch):
    with plain_host(monkeypatch, {f"/{file.name}.pth": file.data}) as (address, log), online({}):
        monkeypatch.setenv("REIDHUB_MIRROR", address)
        with pytest.raises(FetchError, match=r"mirror +not asked: without TLS only a file with a sha256 is taken"):
            fetched(file, tmp_path)
    assert log == []


@pytest.mark.parametrize("target", ["http://other.example.org/x", "https://other.example.org/x", "file:///etc/passwd"])
def test_a_mirror_without_tls_cannot_send_anybody_elsewhere(target, monkeypatch):
    with (
        plain_host(monkeypatch, {}, {"/a.pth": target}) as (address, _),
        pytest.raises(SourceError) as caught,
        open_stream(Source("http", f"{address}/a.pth"), patience=QUICK),
    ):
        pass
    assert "not the plain http address of the mirror" in caught.value.message


def test_a_mirror_may_send_somebody_to_another_place_of_its_own(monkeypatch):
    with (
        plain_host(monkeypatch, {"/b": ONE.data}, {"/a.pth": "/b"}) as (address, _),
        open_stream(Source("http", f"{address}/a.pth"), patience=QUICK) as stream,
    ):
        assert b"".join(stream.chunks) == ONE.data


def test_a_token_never_goes_out_without_tls(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("REIDHUB_MIRROR", "http://huggingface.co/zoo")
    with online({}) as internet, pytest.raises(FetchError) as caught:
        fetched(ONE, tmp_path, kind="https")
    assert "hf_secret" not in str(caught.value)
    assert internet.log != []
    assert all("Authorization" not in request.headers for request in internet.log)
