"""Simulates faults of a host or of the network: an `Edit` changes one answer of a host.

Most functions here return an `Edit`; some are an `Edit` themselves.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat

from reidhub.download.sources.patience import Patience
from reidhub.testing.internet import ConnectionDroppedError, Host, Request, Response

Edit = Callable[[Response], Response]

QUICK = Patience(attempts=4, pause_s=0.001, longest_pause_s=0.05, connect_s=2, read_s=0.5, puzzle_s=20, first_byte_s=10)
"""The real limits on a download, but with short waits."""


def spoiled(host: Host, *edits: Edit, always: Edit | None = None) -> Host:
    """Make a host with faults.

    Args:
        host: gives the answers.
        edits: change the first answers: the first edit changes the first answer, and so on.
        always: changes all further answers; None to leave them unchanged.
    """
    queue = iter(edits)

    def answer(request: Request) -> Response:
        edit = next(queue, always)
        return host(request) if edit is None else edit(host(request))

    return answer


def fine(response: Response) -> Response:
    return response


def drop(at: int) -> Edit:
    """Return an edit that cuts the connection after ``at`` bytes of the body."""
    return lambda response: _with_body(response, _cut(_all(response), at))


def stall(at: int, seconds: float = 1.5) -> Edit:
    """Return an edit that makes a pause after ``at`` bytes of the body."""
    return lambda response: _with_body(response, _stalled(_all(response), at, seconds))


def flip(at: int) -> Edit:
    """Return an edit that changes one bit of byte number ``at`` of the body."""

    def edit(response: Response) -> Response:
        body = bytearray(_all(response))
        body[at] ^= 1
        return Response(response.status, bytes(body), response.headers)

    return edit


def shorter(count: int) -> Edit:
    """Return an edit that removes the last ``count`` bytes of the body, and adapts ``Content-Length``."""
    return lambda response: Response(response.status, _all(response)[:-count], response.headers)


def longer(count: int) -> Edit:
    """Return an edit that appends ``count`` bytes to the body, and adapts ``Content-Length``."""
    return lambda response: Response(response.status, _all(response) + bytes(count), response.headers)


def announce(length: int) -> Edit:
    """Return an edit that sends ``length`` as ``Content-Length``, whatever the length of the body is."""
    return lambda response: Response(
        response.status, [_all(response)], {**response.headers, "Content-Length": str(length)}
    )


def endless(response: Response) -> Response:
    """Return an answer whose body never ends and that has no ``Content-Length``."""
    return Response(200, repeat(bytes(65536)), {"Content-Type": "application/octet-stream"})


def unsized(response: Response) -> Response:
    """Return the same answer without ``Content-Length``: closing the connection ends the body."""
    return Response(response.status, [_all(response)], response.headers)


def chunked(response: Response) -> Response:
    """Return the same answer with its body in chunks (``Transfer-Encoding: chunked``)."""
    body = _all(response)
    parts = [body[at : at + 70_000] for at in range(0, len(body), 70_000)] + [b""]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return Response(response.status, [coded], {**response.headers, "Transfer-Encoding": "chunked"})


def cut_chunked(at: int) -> Edit:
    """Return an edit that sends the body in chunks and cuts the connection after ``at`` bytes.

    These bytes include the lengths of the chunks.
    """

    def edit(response: Response) -> Response:
        whole = chunked(response)
        return Response(whole.status, _cut(_all(whole), at), whole.headers)

    return edit


def status(code: int, body: bytes = b"", **headers: str) -> Edit:
    """Return an edit that replaces the whole answer; the keyword ``X_Y`` gives the header ``X-Y``."""
    return lambda _: Response(code, body, {name.replace("_", "-"): value for name, value in headers.items()})


def say(text: str) -> Edit:
    """Return an edit that replaces the answer by one with status 200 and a JSON text."""
    return status(200, text.encode(), Content_Type="application/json")


def header(**headers: str | None) -> Edit:
    """Return an edit that changes headers of the answer; a header with the value None is removed."""

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
    """Make a host that sends the bodies of its answers slowly, at about ``bytes_per_s``."""

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
