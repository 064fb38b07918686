"""Redirects to anywhere, and hosts that never finish an answer: the next source gives the file, soon.

In the short form each part of an answer is sent slowly once, and each address is redirected to once. The long form adds
other paces, all statuses of redirects, and generated addresses.
"""

import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import pytest
from support.faults import QUICK
from support.generated_zoo import File, content
from support.slow_hosts import BODIES, HEADS, drip

from reidhub.cache.store import Cache
from reidhub.download.fetch import Fetcher, FetchOptions
from reidhub.testing.hosts import Drive, Mega, Static, mega_link
from reidhub.testing.internet import Response, online
from reidhub.zoo.artifact import Source

DATA = content(20_000)
GOOD = Source("https", "https://good.example.org/a.pth")
HERE = "odd.example.org"
PATIENCE = replace(QUICK, attempts=2, connect_s=3, read_s=1, first_byte_s=3, total_s=4)
LIMIT_S = 15  # for both sources of one file
COUNT = Counter()
NUMBER = count()


@pytest.fixture(scope="module", autouse=True)
def what_was_done(tell):
    yield
    counts = ", ".join(f"{number} {what}" for what, number in COUNT.items())
    tell(f"redirects and slow hosts: {counts}; 0 files missing")


def fetch(folder, odd: Source) -> bool:
    """Fetch a file from the odd source, else from the good one; return True if the good one gave it."""
    home = folder / f"{next(NUMBER)}"
    home.mkdir()
    any_one = File("any", DATA).checkpoint(home)
    checkpoint = replace(any_one, artifact=replace(any_one.artifact, sources=(odd, GOOD)))
    start = time.monotonic()
    path = Fetcher(Cache(home / "cache"), FetchOptions(patience=PATIENCE)).fetch(checkpoint)
    assert time.monotonic() - start < LIMIT_S, odd
    assert path.read_bytes() == DATA
    return Cache(home / "cache").read_entry(checkpoint.artifact.digest).source == GOOD.location


# --- redirects -----------------------------------------------------------------------------------------------------

TARGETS = [
    *(
        b"",
        b"#",
        b"?",
        b":",
        b"/",
        b"//",
        b"///",
        b"https:",
        b"https://",
        b"https:///a",
        b"https://[::1/",
        b"https://[]/",
    ),
    *(b"\xff", b"https://\xff/", b"https://\xff\xfe.example/", b"https://\xe2\x84\x80.example/", b"https://%00/"),
    *(b"https://good.example.org:99999/", b"https://good.example.org:-1/", b"https://good.example.org:x/"),
    *(b"https://" + b"a" * 70 + b".example/", b"https://" + b"a." * 200, b"/" + b"a" * 60_000, b"?" + b"%" * 1000),
    *(b"https://ann:hunter2@good.example.org/a.pth", b"https://exa\x01mple.org/", b"https://exa mple.org/"),
    *(b"http://good.example.org/a.pth", b"ftp://good.example.org/a.pth", b"file:///etc/passwd", b"data:,a"),
    *(b"https://dead.example.org/", b"https://xn--a/", b"https://xn--99999999999/", b"https://*/", b"https://.a/"),
    *(b"https://1.2.3.4.5/", b"https://0x7f.1/", b"\x1b[31m", b"https://good.example.org\\@dead.example.org/"),
]
PARTS = [
    b"https://",
    b"good.example.org",
    b"/a.pth?",
    b"@",
    b":",
    b"[",
    b"]",
    b"%",
    b"\xff",
    b"\\",
    b"#",
    b" ",
    b"xn--",
]
PARTS += [b"::1", b"99999", b"..", b"\t", b"\xe2\x84\x80", b"\0"]


def targets(long: bool) -> list[tuple[int, bytes]]:
    if not long:
        codes = [301, 302, 303, 307, 308]
        return [(codes[number % 5], target) for number, target in enumerate(TARGETS)]
    chance = random.Random(5)
    made = [b"".join(chance.choices(PARTS, k=chance.randint(1, 6))) for _ in range(300)]
    return [(code, target) for target in TARGETS for code in (301, 302, 303, 307, 308)] + [(302, text) for text in made]


def test_redirect_is_followed_or_an_error_and_its_body_is_never_read(long, tmp_path, caplog):
    taken = Counter()

    def redirect(request):
        number = request.path.split("/")[-1]
        if not number.isdigit() or int(number) >= len(cases):
            return Response(404)
        code, target = cases[int(number)]

        def endless():
            while taken[number] < 6000:  # 96 MB: what the sockets take before the connection is closed is far less
                taken[number] += 1
                yield bytes(16384)

        return Response(body=endless(), head=[b"HTTP/1.1 %d Away\r\nLocation: %b\r\n\r\n" % (code, target)])

    cases = targets(long)
    with online({HERE: redirect, "good.example.org": Static({"/a.pth": DATA})}), caplog.at_level("INFO", "reidhub"):
        for number in range(len(cases)):
            from_good = fetch(tmp_path, Source("https", f"https://{HERE}/{number}"))
            assert from_good or (cases[number][1] not in TARGETS), cases[number]
            COUNT["redirects refused" if from_good else "redirects followed to the file"] += 1
    assert max(taken.values()) < 4000
    assert "unexpected way" not in caplog.text
    assert "hunter2" not in caplog.text


# --- slow hosts ----------------------------------------------------------------------------------------------------


def slow_answers(pace_s: float):
    """Every part of an answer that can be slow: name -> function that makes the answer."""
    parts = {**HEADS, **BODIES}
    parts["refusal"] = (b"HTTP/1.1 404 Not Found\r\n\r\n", b"a")
    parts["busy"] = (b"HTTP/1.1 503 Busy\r\n\r\n", b"a")
    parts["redirect"] = (b"HTTP/1.1 302 Found\r\nLocation: /status%20line\r\n\r\n", b"a")
    parts["page"] = (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", b"a")
    parts["api"] = (b"HTTP/1.1 200 OK\r\n\r\n[", b" ")
    return {name: lambda part=part: Response(head=drip(*part, pace_s)) for name, part in parts.items()}


def test_host_that_never_finishes_an_answer_is_left_for_the_next_source(long, tmp_path, caplog):
    for pace_s in (0.001, 0.02, 0.3) if long else (0.02,):
        answers = slow_answers(pace_s)
        names = list(answers)
        links = {f"Slow{number:04}": name for number, name in enumerate(names)}

        def web(request, answers=answers):
            return answers[request.path[1:].replace("%20", " ")]()

        def api(request, answers=answers, links=links):
            return answers[links[json.loads(request.body)[0]["p"]]]()

        sources = [Source("https", f"https://{HERE}/{name.replace(' ', '%20')}") for name in names]
        sources += [Source("mega", mega_link(handle, DATA)) for handle in links]
        drive = Source("gdrive", f"https://drive.google.com/uc?id={'1' * 33}")
        world = {HERE: web, Mega.API: api, "good.example.org": Static({"/a.pth": DATA})}
        slow_drive = {**Drive({}).hosts, Drive.CONTENT: lambda _, answers=answers: answers["page"]()}
        with (
            online({**world, **slow_drive}),
            ThreadPoolExecutor(40) as pool,
            caplog.at_level("INFO", "reidhub"),
        ):
            assert all(pool.map(lambda source: fetch(tmp_path, source), [*sources, drive]))
            COUNT["slow answers left"] += len(sources) + 1
    assert "unexpected way" not in caplog.text
