"""What can go wrong on the way from a host, for tests: a host that spoils its answers, one request after another."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat

from reidhub.download.sources.patience import Patience
from reidhub.testing.internet import ConnectionDroppedError, Host, Request, Response

Edit = Callable[[Response], Response]

QUICK = Patience(attempts=4, pause_s=0.001, longest_pause_s=0.05, connect_s=2, read_s=0.5, puzzle_s=20, first_byte_s=10)
"""The real policy with its waits cut short."""


def spoiled(host: Host, *edits: Edit, always: Edit | None = None) -> Host:
    """The host, with its first answers edited in turn, and all further ones by ``always``."""
    queue = iter(edits)

    def answer(request: Request) -> Response:
        edit = next(queue, always)
        return host(request) if edit is None else edit(host(request))

    return answer


def fine(response: Response) -> Response:
    return response


def drop(at: int) -> Edit:
    """The connection is cut behind ``at`` bytes of the body."""
    return lambda response: _with_body(response, _cut(_all(response), at))


def stall(at: int, seconds: float = 1.5) -> Edit:
    """Nothing comes for a while behind ``at`` bytes of the body."""
    return lambda response: _with_body(response, _stalled(_all(response), at, seconds))


def flip(at: int) -> Edit:
    """One bit of the byte at ``at`` arrives wrong."""

    def edit(response: Response) -> Response:
        body = bytearray(_all(response))
        body[at] ^= 1
        return Response(response.status, bytes(body), response.headers)

    return edit


def shorter(count: int) -> Edit:
    """The last ``count`` bytes are missing, and the length says so."""
    return lambda response: Response(response.status, _all(response)[:-count], response.headers)


def longer(count: int) -> Edit:
    """There are ``count`` bytes more, and the length says so."""
    return lambda response: Response(response.status, _all(response) + bytes(count), response.headers)


def announce(length: int) -> Edit:
    """``Content-Length`` is not that of the body."""
    return lambda response: Response(
        response.status, [_all(response)], {**response.headers, "Content-Length": str(length)}
    )


def endless(response: Response) -> Response:
    """The body never ends, and nothing says how long it is."""
    return Response(200, repeat(bytes(65536)), {"Content-Type": "application/octet-stream"})


def unsized(response: Response) -> Response:
    """The body ends with the connection."""
    return Response(response.status, [_all(response)], response.headers)


def chunked(response: Response) -> Response:
    """The body comes in chunks, each with its length before it."""
    body = _all(response)
    parts = [body[at : at + 70_000] for at in range(0, len(body), 70_000)] + [b""]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return Response(response.status, [coded], {**response.headers, "Transfer-Encoding": "chunked"})


def cut_chunked(at: int) -> Edit:
    """The body comes in chunks and is cut behind ``at`` bytes, the lengths counted in."""

    def edit(response: Response) -> Response:
        whole = chunked(response)
        return Response(whole.status, _cut(_all(whole), at), whole.headers)

    return edit


def status(code: int, body: bytes = b"", **headers: str) -> Edit:
    """Another answer altogether; ``X_Y`` stands for the header ``X-Y``."""
    return lambda _: Response(code, body, {name.replace("_", "-"): value for name, value in headers.items()})


def say(text: str) -> Edit:
    """Status 200 and this text."""
    return status(200, text.encode(), Content_Type="application/json")


def header(**headers: str | None) -> Edit:
    """The same answer with headers changed, or taken away where None."""

    def edit(response: Response) -> Response:
        changed = {**response.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return Response(response.status, response.body, {n: v for n, v in changed.items() if v is not None})

    return edit


def _all(response: Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b"".join(response.body)


def _with_body(response: Response, body: Iterable[bytes]) -> Response:
    length = {"Content-Length": str(len(_all(response)))}
    return Response(response.status, body, {**response.headers, **length})


def _cut(body: bytes, at: int) -> Iterator[bytes]:
    yield body[:at]
    raise ConnectionDroppedError


def _stalled(body: bytes, at: int, seconds: float) -> Iterator[bytes]:
    yield body[:at]
    time.sleep(seconds)
    yield body[at:]


def slow(host: Host, bytes_per_s: float) -> Host:
    """The host at the end of a thin line."""

    def answer(request: Request) -> Response:
        response = host(request)
        body = _all(response)
        parts = _paced([body[at : at + 65_536] for at in range(0, len(body), 65_536)], 65_536 / bytes_per_s)
        headers = {"Content-Length": str(len(body)), **response.headers}
        return Response(response.status, parts, headers)

    return answer


def _paced(parts: Iterable[bytes], pause_s: float) -> Iterator[bytes]:
    for part in parts:
        yield part
        time.sleep(pause_s)
