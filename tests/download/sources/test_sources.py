"""The registry of sources, and what holds for every source."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from support.faults import QUICK
from support.generated_zoo import File
from support.processes import list_children
from support.source_kinds import DATA, KINDS, PAGE, offered

from reidhub.cache.store import Cache
from reidhub.download.fetch import Fetcher, FetchOptions
from reidhub.download.sources import open_stream
from reidhub.errors import FetchError, SourceError, UsageError
from reidhub.testing.internet import online
from reidhub.zoo.checkpoint import Artifact, Source


def read(source):
    with open_stream(source, patience=QUICK) as stream:
        return b"".join(stream.chunks), stream.size


def fetch_from(source, folder):
    """Fetch a file of which nothing is known but this source."""
    any_one = File("any", b"any").checkpoint(folder)
    checkpoint = replace(any_one, artifact=Artifact(None, None, (source,)))
    return Fetcher(Cache(folder / "cache"), FetchOptions(patience=QUICK)).fetch(checkpoint).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_bytes_and_their_number(kind, tmp_path):
    source, hosts = offered(kind, DATA, tmp_path)
    with online(hosts):
        assert read(source) == (DATA, len(DATA))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "expected a checkpoint file, got 0 bytes"),
        (PAGE, r'got 76 bytes of text/html \("Quota exceeded \[31m"\)'),
        (b'{"error": "not found"}', "got 22 bytes of application/json"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "point to a file in Git LFS"),
        (b"<html>" + b"a" * 400_000, "got more than 262144 bytes of text/html"),
    ],
    ids=["empty", "page", "json", "lfs", "long page"],
)
def test_no_source_passes_off_something_else_as_a_checkpoint(kind, content, words, tmp_path):
    source, hosts = offered(kind, content, tmp_path)
    with online(hosts), pytest.raises(FetchError, match=words):
        fetch_from(source, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "content", [b"PK\x03\x04" + DATA, b"\x80", b"{\x00\x00\x00\x00\x00\x00\x00{}", b"text", b"<\x00"]
)
def test_what_may_be_a_checkpoint_is_left_to_its_reader(kind, content, tmp_path):
    source, hosts = offered(kind, content, tmp_path)
    with online(hosts):
        assert fetch_from(source, tmp_path) == content


@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_location_is_refused_for_good_and_without_a_request(kind):
    with online({}) as internet, pytest.raises(SourceError) as caught:
        read(Source(kind, "ftp://[nowhere/\x00"))
    assert caught.value.permanent
    assert internet.log == []


@pytest.mark.parametrize("kind", ["mega", "gdrive", "https"])
def test_a_host_that_cannot_be_reached_is_told_soon(kind, tmp_path):
    source, _ = offered(kind, DATA, tmp_path)
    with online({}) as internet, pytest.raises(SourceError, match="no connection through the proxy") as caught:
        read(source)
    assert not caught.value.permanent
    assert len(internet.log) == 2


@pytest.mark.parametrize("scheme", ["http", "socks5", "what"])
@pytest.mark.parametrize("kind", ["mega", "gdrive", "https"])
def test_a_proxy_password_is_never_told(kind, scheme, tmp_path, monkeypatch):
    source, _ = offered(kind, DATA, tmp_path)
    for address in ("127.0.0.1:9", "[bad", "127.0.0.1:no", "/", "127.0.0.1:9\n"):
        address = f"{scheme}://ann:hunter2@{address}"
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, address)
        with pytest.raises(SourceError) as caught:
            read(source)
        error = caught.value
        chain = [error, error.__cause__, error.__context__ if not error.__suppress_context__ else None]
        assert "hunter2" not in " ".join(map(repr, chain)) + str(error) + str(error.hint)


@pytest.mark.parametrize("kind", ["mega", "gdrive", "https"])
def test_a_host_whose_certificate_is_not_trusted_gets_no_request(kind, tmp_path, monkeypatch):
    source, hosts = offered(kind, DATA, tmp_path)
    with online(hosts) as internet, monkeypatch.context() as inside:
        inside.delenv("REQUESTS_CA_BUNDLE")
        with pytest.raises(SourceError, match="certificate is not trusted") as caught:
            read(source)
    assert "REQUESTS_CA_BUNDLE" in caught.value.hint
    assert internet.log == []


@pytest.mark.parametrize("kind", ["mega", "gdrive", "https"])
def test_a_bundle_of_certificates_that_is_not_there_is_told(kind, tmp_path, monkeypatch):
    source, hosts = offered(kind, DATA, tmp_path)
    with online(hosts), monkeypatch.context() as inside:
        inside.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
        with pytest.raises(SourceError, match="certificates cannot be read") as caught:
            read(source)
    assert caught.value.hint == "look at REQUESTS_CA_BUNDLE"


@pytest.mark.parametrize("kind", KINDS)
def test_leaving_early_leaves_no_thread_no_process_and_no_file_behind(kind, tmp_path, monkeypatch):
    source, hosts = offered(kind, b"\x80" + bytes(20_000_000), tmp_path)
    private = tmp_path / "tmp"
    private.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(private))
    with online(hosts) as internet:
        before = set(threading.enumerate())
        with open_stream(source, patience=QUICK) as stream:
            next(stream.chunks)
        assert not list_children(os.getpid())
        inside = set(private.iterdir())
        assert all(path.name.startswith("reidhub-internet-") for path in inside), internet
    assert set(threading.enumerate()) <= before


def test_an_unknown_kind_is_a_mistake_of_the_caller():
    with pytest.raises(UsageError, match="unknown source kind 'ftp'; known are mega, gdrive, https, local, http"):
        open_stream(Source("ftp", "ftp://a"))


def test_the_registry_costs_no_import_of_a_network_library():
    code = (
        "import sys, reidhub.download.sources, reidhub.download.sources.local;"
        "print([m for m in ('requests', 'gdown', 'cryptography', 'numpy', 'torch') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_no_source_imports_gdown_until_a_drive_link_is_opened():
    code = (
        "import sys, reidhub.download.sources.mega, reidhub.download.sources.https, reidhub.download.sources.gdrive;"
        "print([m for m in ('gdown', 'bs4', 'numpy', 'torch') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
