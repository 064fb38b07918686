"""The registry of sources, and what holds for every source."""

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from support.faults import QUICK, announce, say, spoiled
from support.generated_zoo import File
from support.processes import list_children
from support.source_kinds import DATA, KINDS, PAGE, offered

from reidhub.cache.store import Cache
from reidhub.download.fetch import Fetcher, FetchOptions
from reidhub.download.sources import SOURCES, Stream, open_stream, probe
from reidhub.download.transfer import LARGEST
from reidhub.errors import FetchError, SourceError, UsageError
from reidhub.testing.hosts import Mega
from reidhub.testing.internet import online
from reidhub.zoo.artifact import Artifact, Source


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


@pytest.mark.parametrize("kind", ["mega", "gdrive", "https"])
@pytest.mark.parametrize("variable", ["HOME", "NETRC"])
def test_no_password_from_netrc_is_sent(kind, variable, tmp_path, monkeypatch):
    passwords = tmp_path / ".netrc"
    passwords.write_text("default login ann password hunter2\n")
    passwords.chmod(0o600)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv(variable, str(tmp_path if variable == "HOME" else passwords))
    source, hosts = offered(kind, DATA, tmp_path)
    with online(hosts) as internet:
        assert read(source) == (DATA, len(DATA))
        assert probe(source, patience=QUICK) == len(DATA)
    assert internet.log
    assert not [request for request in internet.log if "Authorization" in request.headers]


class Unexpected:
    """A source module whose functions fail as no source does on purpose."""

    @staticmethod
    def probe(location, *, patience):
        raise KeyError(location)

    @staticmethod
    @contextmanager
    def open_stream(location, *, resume, patience):
        if "opening" in location:
            raise RecursionError(location)

        def chunks():
            yield b"\x80"
            raise UnicodeError(location)

        yield Stream(chunks())


@pytest.mark.parametrize(("when", "what"), [("opening", "RecursionError"), ("reading", "UnicodeError")])
def test_after_an_unexpected_failure_of_a_source_the_next_is_asked(when, what, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "unexpected_source", Unexpected)
    monkeypatch.setitem(SOURCES, "gdrive", "unexpected_source")
    odd, (good, hosts) = Source("gdrive", f"secret {when}"), offered("https", DATA, tmp_path)
    any_one = File("any", DATA).checkpoint(tmp_path)
    checkpoint = replace(any_one, artifact=replace(any_one.artifact, sources=(odd, good)))
    with online(hosts), caplog.at_level("INFO", "reidhub"):
        assert Fetcher(Cache(tmp_path / "cache")).fetch(checkpoint).read_bytes() == DATA
    assert f"gdrive: it failed in an unexpected way ({what} in test_sources.py, line " in caplog.text
    assert "secret" not in caplog.text
    with pytest.raises(SourceError, match=r"unexpected way \(KeyError in test_sources.py, line"):
        probe(odd)


def test_failure_of_the_reader_is_not_taken_for_one_of_the_source(tmp_path):
    source, hosts = offered("https", DATA, tmp_path)
    with online(hosts), pytest.raises(KeyError), open_stream(source, patience=QUICK) as stream:
        next(stream.chunks)
        raise KeyError


@pytest.mark.parametrize("kind", ["mega", "https"])
def test_huge_size_that_only_a_host_states_is_not_reported_as_a_full_disk(kind, tmp_path):
    """A size of the manifest may find the disk too small; a size that only a host states must not end the run."""
    source, hosts = offered(kind, DATA, tmp_path)
    huge = say(f'[{{"s":{10**17},"g":"https://{Mega.STORAGE}/dl/AbCdEfGh"}}]') if kind == "mega" else announce(10**17)
    host = Mega.API if kind == "mega" else "example.org"
    with online({**hosts, host: spoiled(hosts[host], always=huge)}), pytest.raises(FetchError) as caught:
        fetch_from(source, tmp_path)
    assert f"expected at most {LARGEST} bytes, the host offers {10**17}" in caught.value.message


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (b"<title>&#" + b"9" * 5000 + b";</title>", ""),
        (b"<title" * 40_000, ""),
        (b"<title>" * 30_000, ""),
        (b"<TITLE class=a>Log &amp; in</TITLE>", ' ("Log & in")'),
    ],
    ids=["huge number", "unclosed tags", "many titles", "usual"],
)
def test_title_of_a_page_takes_no_time_and_no_number_is_too_large(page, words, tmp_path):
    source, hosts = offered("https", page, tmp_path)
    start = time.process_time()
    with online(hosts), pytest.raises(FetchError, match="text/html") as caught:
        fetch_from(source, tmp_path)
    assert time.process_time() - start < 1
    if words:
        assert caught.value.message.endswith(f"text/html{words}")
