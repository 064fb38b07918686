"""Two processes that download the same file at the same moment, without locks that work."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from support.faults import QUICK
from support.generated_zoo import WEB, File, content, files_below, source_of, stored

from reidhub.cache.store import Cache
from reidhub.download.transfer import Transfer
from reidhub.testing.hosts import Static
from reidhub.testing.internet import Internet, Request, Response, online

FILE = File("race", content(3_000_000), kinds=("https",))
HALF = 1_500_000
BLOCK = 256 * 1024  # the web source reads this many bytes before it hands them on


class PausingHost:
    """A host that lets a second download take over the first one.

    The second half of the first answer is sent when the partial file of the first download is gone. Most of the second
    answer is sent when the file is in the cache. Both are sent after 5 s at the latest.

    Args:
        home: the folder of the cache.

    Attributes:
        first: the partial file of the first download; set by the test.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self.first: Path | None = None
        self._file = Static({"/race.pth": FILE.data})
        self.internet: Internet | None = None

    def __call__(self, request: Request) -> Response:
        answer = self._file(request)
        number = len(self.internet.requests(WEB))
        headers = {**answer.headers, "Content-Length": str(len(answer.body))}
        body = {1: self._first, 2: self._second}.get(number, lambda body: [body])(answer.body)
        return Response(answer.status, body, headers)

    def _first(self, body):
        yield body[:HALF]
        wait_until(lambda: self.first and not self.first.exists())
        yield body[HALF:]

    def _second(self, body):
        yield body[:1000]
        wait_until(lambda: stored(self._home))
        yield body[1000:]


def wait_until(done, seconds=5):
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.01)


def test_a_download_that_another_process_took_over_starts_again_and_ends_with_the_file(tmp_path):
    cache = Cache(tmp_path / "cache")
    what = FILE.checkpoint(tmp_path), source_of(FILE, "https"), cache, replace(QUICK, read_s=20)
    transfers = [Transfer(*what, lambda size, received: nullcontext(lambda length: None)) for _ in range(2)]
    host = PausingHost(cache.root)
    with online({WEB: host}) as internet, ThreadPoolExecutor(2) as threads:
        host.internet = internet
        first = threads.submit(transfers[0].run)
        wait_until(lambda: any(path.stat().st_size > HALF - BLOCK for path in cache.partial.glob("*.part")))
        (host.first,) = cache.partial.glob("*.part")
        second = threads.submit(transfers[1].run)
        assert first.result() == second.result() == cache.find(FILE.checkpoint(tmp_path).artifact)
    ranges = [request.headers.get("Range") for request in internet.requests(WEB)]
    assert ranges[0] is None
    assert None not in ranges[1:]
    assert len(ranges) == 3
    assert files_below(cache.partial) == {}
