"""Odd answers of every host: each one makes its source fail, and the next source gives the file.

The texts and pages come from tables; further answers are right ones with some bytes changed. The long form changes many
more, and asks Google Drive more often, because each download from there starts a process.
"""

import json
import random
from collections import Counter
from dataclasses import replace
from itertools import count

import pytest
from support.faults import QUICK
from support.generated_zoo import File, content

from reidhub.cache.store import Cache
from reidhub.download.fetch import Fetcher, FetchOptions
from reidhub.testing.hosts import Drive, Mega, Static, mega_link
from reidhub.testing.internet import Response, online
from reidhub.zoo.artifact import Artifact, Source

DATA = content(3000)
HANDLE = "OddOddOd"
LINK = mega_link(HANDLE, DATA)
GOOD = Source("https", "https://good.example.org/a.pth")
ODD = {
    "https": Source("https", "https://odd.example.org/a.pth"),
    "mega": Source("mega", LINK),
    "gdrive": Source("gdrive", f"https://drive.google.com/uc?id={'1' * 33}"),
}
PATIENCE = replace(QUICK, attempts=2, puzzle_s=0.2, connect_s=5, read_s=5, first_byte_s=5)
COUNT = Counter()


@pytest.fixture(scope="module", autouse=True)
def what_was_done(tell):
    yield
    counts = ", ".join(f"{number} {what}" for what, number in COUNT.items())
    tell(f"odd answers: {counts}; 0 files missing, 0 unexpected failures")


@pytest.fixture
def fetch(tmp_path, caplog):
    """Fetches a file from the odd source of a kind, else from the good one."""
    any_one, number = File("any", DATA).checkpoint(tmp_path), count()

    def fetch(kind: str, *, pinned: bool = True) -> None:
        sources = (ODD[kind], GOOD)
        artifact = replace(any_one.artifact, sources=sources) if pinned else Artifact(None, None, sources)
        caplog.clear()
        cache = Cache(tmp_path / f"{next(number)}")
        path = Fetcher(cache, FetchOptions(patience=PATIENCE)).fetch(replace(any_one, artifact=artifact))
        assert path.read_bytes() == DATA
        assert "unexpected way" not in caplog.text
        COUNT[f"{kind}: {'told' if caplog.messages else 'harmless'}"] += 1

    with caplog.at_level("INFO", "reidhub.download.fetch"):
        yield fetch


def world(**odd):
    """The hosts; each keyword replaces one of them by a function that makes its answers."""
    mega, drive = Mega({LINK: DATA}), Drive({"1" * 33: DATA})
    known = {"api": Mega.API, "storage": Mega.STORAGE, "drive": Drive.CONTENT, "web": "odd.example.org"}
    good = {"good.example.org": Static({"/a.pth": DATA}), "odd.example.org": Static({"/a.pth": DATA})}
    return {**mega.hosts, **drive.hosts, **good, **{known[name]: host for name, host in odd.items()}}


# --- texts of Mega's API -------------------------------------------------------------------------------------------

NINES = "9" * 4000
VALUES = [
    "null",
    "true",
    "-1",
    "0",
    "1.5",
    "1e999",
    "-0",
    NINES,
    f"-{NINES}",
    '""',
    '"\\ud800"',
    "[]",
    "{}",
    '"-9"',
    "NaN",
]
VALUES += [
    "9" * 5000,
    '"https://[::1"',
    '"https://a:x/"',
    '"http://a/"',
    f'"https://{"a" * 70}/"',
    '"https://*/"',
    "1" * 18,
]
TEXTS = [
    "",
    "[",
    "[" * 60_000,
    '{"a":' * 9000,
    "]",
    "\0",
    "\ufeff[-9]",
    '"',
    "-",
    "[-9",
    "[[-9]]",
    "nul",
    "[NaN]",
    "1" * 5000,
]


def api_texts() -> list[str]:
    """Tables of odd answers: whole texts, and offers and errors with one odd value."""
    address = f'"https://{Mega.STORAGE}/dl/{HANDLE}"'
    texts = [*TEXTS, *VALUES, *(f"[{value}]" for value in VALUES)]
    for value in VALUES:
        texts += [f'[{{"s":{value},"g":{address}}}]', f'[{{"s":3000,"g":{value}}}]']
        texts += [f'{{"err":{value}}}', f'{{"e":-17,"tl":{value}}}', f'[{{"s":3000,"at":{value},"g":{address}}}]']
    return texts


@pytest.mark.parametrize("pinned", [True, False], ids=["sha256", "mac"])
def test_after_an_odd_text_of_megas_api_the_next_source_is_asked(pinned, long, fetch):
    texts = api_texts() if long else api_texts()[pinned::4]
    with online(world()) as internet:
        for text in texts:
            answer = Response(200, text.encode("utf-8", "surrogatepass"))
            internet.hosts[Mega.API] = lambda _, answer=answer: answer
            fetch("mega", pinned=pinned)


# --- headers and heads ---------------------------------------------------------------------------------------------

LONG = "a" * 60_000
NAMES = (
    "Content-Length",
    "Content-Range",
    "Content-Encoding",
    "Transfer-Encoding",
    "Content-Type",
    "Content-Disposition",
)
NAMES += (
    "ETag",
    "Last-Modified",
    "Retry-After",
    "Set-Cookie",
    "Location",
    "X-MEGA-Time-Left",
    "X-Hashcash",
    "Connection",
)
TEXT = [
    "",
    "-1",
    "9" * 5000,
    "1, 2",
    "chunked, gzip",
    "\xff",
    "\x01",
    LONG,
    "Fri, 31 Dec 99999999999999999999 00:00:00 GMT",
]
TEXT += [
    "bytes 0-1/99999999999999999999",
    "1:255:1:x",
    "a=b; Max-Age=" + "9" * 5000,
    '"' * 100,
    "https://[::1/",
    "%" * 50,
]
STATUSES = (
    100,
    101,
    103,
    199,
    200,
    201,
    204,
    206,
    300,
    302,
    304,
    305,
    399,
    402,
    407,
    408,
    416,
    429,
    509,
    511,
    599,
    999,
)


def odd_heads(chance: random.Random, number: int) -> list[bytes]:
    """Heads with odd headers, and right heads with some bytes changed."""
    heads = []
    for _ in range(number):
        lines = [b"HTTP/1.1 %d OK" % chance.choice(STATUSES)]
        for name in chance.choices(NAMES, k=chance.randint(1, 3)):
            lines.append(f"{name}: {chance.choice(TEXT)}".encode("latin-1"))
        heads.append(b"\r\n".join([*lines, b"", b""]))
        right = bytearray(
            b'HTTP/1.1 206 OK\r\nContent-Length: 3000\r\nContent-Range: bytes 0-2999/3000\r\nETag: "a"\r\n\r\n'
        )
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(right))
            right[at : at + chance.randint(0, 3)] = chance.choice(
                [b"", b"\0", b"\r\n", b"9", b":", b"\xff", b" ", b"-"]
            )
        heads.append(bytes(right))
    return heads


@pytest.mark.parametrize(("kind", "host"), [("https", "web"), ("mega", "api"), ("mega", "storage")])
def test_after_an_odd_head_of_an_answer_the_next_source_is_asked(kind, host, long, fetch):
    heads = odd_heads(random.Random(f"{kind} {host}"), 200 if long else 12)
    offer = json.dumps([{"s": len(DATA), "at": "", "g": f"https://{Mega.STORAGE}/dl/{HANDLE}"}]).encode()
    body = offer if host == "api" else DATA
    with online(world()) as internet:
        name = {"web": "odd.example.org", "api": Mega.API, "storage": Mega.STORAGE}[host]
        for head in heads:
            internet.hosts[name] = lambda _, head=head: Response(body=body, head=[head])
            fetch(kind)


# --- pages of Google Drive -----------------------------------------------------------------------------------------

PAGES = [
    b"<title>" + b"&#9" * 300 + b"9" * 5000 + b";</title>",
    b'<form id="download-form" action="https://[::1/"><input name="id" value="1"></form>',
    b"<title>" * 30_000,
    b'<form id="download-form" action="\xff"></form><title>\xff&#xD800;</title>',
    b'<a href="/uc?export=download&id=' + b"1" * 5000 + b'">',
    b'{"downloadUrl":"https://[::1/"}',
    b'"downloadUrl":"',
    b"\0" * 1000,
    b"",
]


def test_after_an_odd_page_of_drive_the_next_source_is_asked(long, fetch):
    with online(world()) as internet:
        for page in PAGES if long else PAGES[:2]:
            answer = Response(200, page, {"Content-Type": "text/html"})
            internet.hosts[Drive.CONTENT] = lambda _, answer=answer: answer
            fetch("gdrive")
