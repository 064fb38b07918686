"""Every fault that the hosts are known for, end to end: from a checkpoint to a file, or to an error with a reason.

Each row is fetched through the resolver into an empty cache, pinned and unpinned. Whatever happens: no wrong byte
stands under a final name, and nothing else is left than a beginning that a later run can go on with.
"""

import base64
import json
from collections import Counter
from dataclasses import dataclass, replace

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
    longer,
    say,
    shorter,
    spoiled,
    stall,
    status,
    unsized,
)
from support.generated_zoo import WEB, File, content, hosts, stored

from reidhub.cache.store import Cache
from reidhub.download.fetch import Fetcher, FetchOptions
from reidhub.errors import FetchError
from reidhub.files.digest import Digest
from reidhub.testing.hosts import Drive, Mega, MegaKey, Static, content_mac, page
from reidhub.testing.internet import ConnectionDroppedError, Response, online

SIZE = 2_600_001
DATA = content(SIZE)
WELL = ""  # in the place of an error's words

TOKEN = base64.urlsafe_b64encode(bytes(range(48))).decode()
HASHCASH = {"X_Hashcash": f"1:{{}}:1700000000:{TOKEN}"}


@dataclass
class Fault:
    """One row of the table.

    Args:
        name: of the fault.
        host: whose answers are spoiled.
        words: of the error; `WELL` where the file comes nevertheless.
        edits: of the first answers.
        always: of all further ones.
        data: what the hosts have in the file's place.
    """

    name: str
    host: str
    words: str
    edits: tuple = ()
    always: object = None
    data: bytes = DATA


def offer(size: int = SIZE, scheme: str = "https", handle: str = "fault") -> object:
    return say(json.dumps([{"s": size, "at": "", "g": f"{scheme}://{Mega.STORAGE}/dl/{handle:A>8}"}]))


def quota_page(_):
    return page(200, "Google Drive - Quota exceeded", "<p>Too many users have downloaded this file recently.</p>")


def drip(response):
    """Ever new pieces, cut again and again."""
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)

    def cut():
        yield body[:400_000]
        raise ConnectionDroppedError

    return Response(response.status, cut(), {**response.headers, "Content-Length": str(len(body))})


QUOTA = "quota of this address is used up; try again in 41 min"
API, STORE, DRIVE = Mega.API, Mega.STORAGE, Drive.CONTENT
TABLE = [
    Fault("drop mid-chunk", STORE, WELL, (drop(700_001),)),
    Fault("drops again and again", STORE, WELL, always=drip),
    Fault("drops without progress", STORE, "after 0 of|connection broke", always=drop(0)),
    Fault("stall", STORE, WELL, (stall(300_000),)),
    Fault("403 once", STORE, WELL, (status(403),)),
    Fault("403 always", STORE, "403 Forbidden for one address after another", always=status(403)),
    Fault("503 once", STORE, WELL, (status(503),)),
    Fault("503 always", STORE, "503 Service Unavailable", always=status(503)),
    Fault("509 at the start", STORE, QUOTA, always=status(509, X_MEGA_Time_Left="2460")),
    Fault("509 midway", STORE, QUOTA, (drop(1_500_000),), status(509, X_MEGA_Time_Left="2460")),
    Fault("-17 with a time", API, QUOTA, always=say('[{"e":-17,"tl":2460}]')),
    Fault("-17 without", API, "try again in some hours", always=say("-17")),
    Fault("-3, then fine", API, WELL, (say("-3"), say("[-3]"))),
    Fault("-9", API, "no such file", always=say("[-9]")),
    Fault("-16", API, "blocked", always=say('[{"err":-16}]')),
    Fault("a page for JSON", API, "no JSON", always=say("<html><title>Portal</title></html>")),
    Fault("size off by +16", API, "expected 2600001 bytes|ended the file", always=offer(SIZE + 16)),
    Fault("size off by -16", API, "expected 2600001 bytes|MAC", always=offer(SIZE - 16)),
    Fault("plain http", API, "without TLS", always=offer(scheme="http")),
    Fault("storage redirects", STORE, "302 Found", always=status(302, Location="https://example.org/")),
    Fault("ignored range", STORE, "more of|more keep coming|sends|MAC", (drop(900_000),), lambda _: whole()),
    Fault("longer body", STORE, "storage host sends", always=longer(16)),
    Fault("shorter body", STORE, "ended the file", (shorter(16),), status(200)),
    Fault("endless body", STORE, "more keep coming|bytes", always=endless),
    Fault("flipped byte", STORE, "MAC", always=flip(1_000_000)),
    Fault("hashcash solvable", API, WELL, (status(402, X_Hashcash=HASHCASH["X_Hashcash"].format(255)),)),
    Fault("hashcash not", API, "not found in", always=status(402, X_Hashcash=HASHCASH["X_Hashcash"].format(0))),
    Fault("hashcash unknown", API, "not known here", always=status(402, X_Hashcash="2:1:1:x")),
    Fault("quota page", DRIVE, "Quota exceeded", always=quota_page),
    Fault("sign-in page", Drive.FRONT, "sign-in", always=status(302, Location="https://accounts.google.com/x")),
    Fault("confirm loop", DRIVE, "Virus scan warning", always=lambda _: confirm()),
    Fault("404", DRIVE, "404 Not Found", always=status(404)),
    Fault("429", DRIVE, "429 Too Many", always=status(429, Retry_After="2460")),
    Fault("503 once", DRIVE, WELL, (status(503), status(503))),
    Fault("cut at the start", DRIVE, WELL, (drop(0),)),
    Fault("cut midway", DRIVE, "ended the file early", always=drop(1_500_000)),
    Fault("cut without length", DRIVE, "bytes|MAC", always=lambda response: unsized(shorter(5000)(response))),
    Fault("wrong Content-Length", DRIVE, "ended the file early|host offers", always=announce(SIZE + 16)),
    Fault("flipped byte", DRIVE, "sha256|MAC", always=flip(1_000_000)),
    Fault("another file", DRIVE, "bytes|sha256|MAC", data=content(SIZE, 7)),
    Fault("page under a file's name", DRIVE, "text/html", always=lambda _: named(page(200, "Surprise"))),
    Fault("endless body", DRIVE, "more keep coming", always=lambda response: named(endless(response))),
    Fault("drop", WEB, WELL, (drop(700_001),)),
    Fault("drops again and again", WEB, WELL, always=drip),
    Fault("drops without progress", WEB, "connection broke", always=drop(0)),
    Fault("stall", WEB, WELL, (stall(300_000),)),
    Fault("403", WEB, "403 Forbidden", always=status(403)),
    Fault("503 once", WEB, WELL, (status(503),)),
    Fault("503 always", WEB, "503 Service", always=status(503)),
    Fault("429 for long", WEB, "try again in 41 min", always=status(429, Retry_After="2460")),
    Fault("ignored range", WEB, WELL, (drop(900_000), lambda _: whole_web())),
    Fault("another range", WEB, "asked for the bytes", (drop(900_000),), header(Content_Range="bytes 0-9/10")),
    Fault("wrong Content-Length", WEB, "bytes", always=announce(SIZE + 16)),
    Fault("size off by -16", WEB, "bytes|MAC", always=shorter(16)),
    Fault("size off by +16", WEB, "bytes|MAC", always=longer(16)),
    Fault("flipped byte", WEB, "sha256|MAC", always=flip(1_000_000)),
    Fault("another file", WEB, "sha256|MAC", data=content(SIZE, 7)),
    Fault("page", WEB, "text/html", always=lambda _: page(200, "Log in")),
    Fault("redirect to plain http", WEB, "without TLS", always=status(302, Location="http://example.org/a")),
    Fault("redirect to a dead host", WEB, "no connection", always=status(302, Location="https://dead.example.org/a")),
    Fault("redirects in a circle", WEB, "redirects", always=status(302, Location=f"https://{WEB}/fault.pth")),
    Fault("endless body", WEB, "more keep coming", always=endless),
    Fault("chunked", WEB, WELL, always=chunked),
    Fault("chunked and cut", WEB, WELL, (cut_chunked(900_000),)),
    Fault("compressed", WEB, "compressed", always=header(Content_Encoding="gzip")),
    Fault("Git LFS pointer", WEB, "Git LFS", always=status(200, b"version https://git-lfs.github.com/spec/v1\noid")),
    Fault("empty", WEB, "0 bytes", always=status(200)),
]


def whole() -> Response:
    """The storage host sends the file from its start, whatever was asked for."""
    file = fault_file("mega", pinned=True)
    return Mega({file.location("mega"): DATA}).storage(_Asked(f"/dl/{file.tag:A>8}"))


def whole_web() -> Response:
    return Static({"/fault.pth": DATA})(_Asked("/fault.pth"))


class _Asked:
    def __init__(self, path: str) -> None:
        self.path, self.headers = path, {}


def confirm() -> Response:
    drive = Drive({})
    return page(200, "Google Drive - Virus scan warning", drive._form(fault_file("gdrive", pinned=True).drive_id))


def named(response: Response) -> Response:
    return header(Content_Disposition='attachment; filename="../a.pth"')(response)


def fault_file(kind: str, *, pinned: bool) -> File:
    """Of that kind alone; an unpinned one has its Mega link last, for the MAC."""
    return File("fault", DATA, kinds=(kind,) if pinned or kind == "mega" else (kind, "mega"), pinned=pinned)


def kind_of(host: str) -> str:
    return {WEB: "https", API: "mega", STORE: "mega"}.get(host, "gdrive")


def outcome(fault: Fault, folder, *, pinned: bool) -> tuple[str, Cache]:
    """The error's words, or nothing; and the cache afterwards."""
    kind = kind_of(fault.host)
    file = fault_file(kind, pinned=pinned)
    world = hosts([file], {"fault": fault.data})
    spoilt = {**world, fault.host: spoiled(world[fault.host], *fault.edits, always=fault.always)}
    cache = Cache(folder / "cache")
    patience = replace(QUICK, puzzle_s=1.0)
    with online(spoilt):
        try:
            path = Fetcher(cache, FetchOptions(kind=kind, patience=patience)).fetch(file.checkpoint(folder))
        except FetchError as error:
            return error.message, cache
    assert path.read_bytes() == DATA
    return WELL, cache


COUNT = Counter()
ROWS = [
    pytest.param(
        fault,
        pinned,
        id=f"{kind_of(fault.host)} {fault.name} {'sha256' if pinned else 'mac'}".replace(" ", "-"),
        marks=[pytest.mark.long] if (number + pinned) % 2 else [],
    )
    for number, fault in enumerate(TABLE)
    for pinned in (True, False)
]


@pytest.fixture(scope="module", autouse=True)
def what_was_done(tell):
    yield
    counts = ", ".join(f"{count} {what}" for what, count in COUNT.items())
    tell(f"faults end to end, {len(TABLE)} of them: {counts}; 0 wrong files")


@pytest.mark.parametrize(("fault", "pinned"), ROWS)
def test_a_fault_ends_in_the_file_or_in_a_reason(fault, pinned, tmp_path):
    words, cache = outcome(fault, tmp_path, pinned=pinned)
    if fault.words == WELL:
        assert words == WELL
    else:
        assert words != WELL
        assert any(part in words for part in fault.words.split("|")), words
    COUNT["came whole" if words == WELL else "ended in an error"] += 1
    right = {Digest.of_bytes(DATA).hex: DATA}
    assert stored(tmp_path / "cache") == (right if words == WELL else {})
    for partial in cache.list_partials():
        assert partial.resumable, partial
        COUNT["left a beginning"] += 1
        assert DATA.startswith(partial.path.read_bytes())


@pytest.mark.parametrize("size", [1, 15, 16, 17, 131071, 131072, 131073, 393221, 4718592, 5767171])
@pytest.mark.parametrize("kind", ["mega", "gdrive", "https"])
def test_a_file_of_any_size_is_held_to_its_mac(kind, size, tmp_path):
    file = File("sized", content(size), kinds=(kind, *{"mega"} - {kind}), pinned=False)
    wrong = bytes([file.data[0] ^ 64]) + file.data[1:]
    terms = FetchOptions(kind=kind, patience=QUICK)
    with online(hosts([file], {"sized": wrong})), pytest.raises(FetchError, match="MAC"):
        Fetcher(Cache(tmp_path / "cache"), terms).fetch(file.checkpoint(tmp_path))
    assert stored(tmp_path / "cache") == {}
    with online(hosts([file])):
        path = Fetcher(Cache(tmp_path / "cache"), terms).fetch(file.checkpoint(tmp_path))
    assert path.read_bytes() == file.data
    COUNT["sizes held to a MAC"] += 1


def test_an_empty_file_is_refused_from_every_source(tmp_path):
    for kind in ("mega", "gdrive", "https"):
        file = File("empty", b"", kinds=(kind, *{"mega"} - {kind}), pinned=False)
        with online(hosts([file])), pytest.raises(FetchError, match="got 0 bytes"):
            Fetcher(Cache(tmp_path / "cache"), FetchOptions(kind=kind, patience=QUICK)).fetch(file.checkpoint(tmp_path))
    assert stored(tmp_path / "cache") == {}


def test_a_forged_content_with_the_right_mac_is_found_out_by_the_sha256(tmp_path):
    forged = forgery(File("forged", DATA))
    pinned = File("forged", DATA, kinds=("mega",))
    with online(hosts([pinned], {"forged": forged})), pytest.raises(FetchError, match="expected sha256"):
        Fetcher(Cache(tmp_path / "cache"), FetchOptions(patience=QUICK)).fetch(pinned.checkpoint(tmp_path))
    assert stored(tmp_path / "cache") == {}
    loose = File("forged", DATA, kinds=("mega",), pinned=False)
    with online(hosts([loose], {"forged": forged})):  # a MAC is no signature: what docs/downloads.md says
        path = Fetcher(Cache(tmp_path / "other"), FetchOptions(patience=QUICK)).fetch(loose.checkpoint(tmp_path))
    assert path.read_bytes() == forged


def forgery(file: File) -> bytes:
    """Another content of the same MAC: made by who knows the link, by changing one chunk's last block."""
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

    key = MegaKey.of_text(file.location("mega").split("!")[2])
    first = bytearray(file.data[:131_072])
    mac = Cipher(AES(key.aes), CBC(key.nonce * 2)).encryptor().update(bytes(first))[-16:]
    first[5000] ^= 1
    before = Cipher(AES(key.aes), CBC(key.nonce * 2)).encryptor().update(bytes(first[:-16]))[-16:]
    plain = Cipher(AES(key.aes), ECB()).decryptor().update(mac)
    first[-16:] = bytes(a ^ b for a, b in zip(plain, before, strict=True))
    forged = bytes(first) + file.data[131_072:]
    assert forged != file.data
    assert content_mac(key.aes, key.nonce, forged) == key.mac
    return forged
