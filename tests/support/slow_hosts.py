"""Answers that come byte by byte and never end, and a proxy that answers CONNECT in this way."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from socketserver import BaseRequestHandler, ThreadingTCPServer

_LONGEST_S = 30.0

HEADS = {
    "status line": (b"HTTP/1.1 20", b"0"),
    "one header": (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "many headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
"""Part of an answer's head that never ends -> bytes to send at once, bytes to send again and again."""

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODIES = {
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n\x80", b"a"),
    "length of a chunk": (_CHUNKED + b"1\r\n\x80\r\n", b"0"),
    "trailers": (_CHUNKED + b"1\r\n\x80\r\n0\r\n", b"X: y\r\n"),
}
"""Part of an answer's body that never ends -> bytes to send at once, bytes to send again and again."""


def drip(start: bytes, then: bytes, pause_s: float = 0.02) -> Iterator[bytes]:
    """Yield ``start``, then the bytes of ``then`` one by one, again and again, for at most 30 s."""
    yield start
    end = time.monotonic() + _LONGEST_S
    for byte in cycle(then):
        time.sleep(pause_s)
        if time.monotonic() > end:
            return
        yield bytes([byte])


@contextmanager
def raw_proxy(answer: Callable[[], Iterable[bytes]]) -> Iterator[str]:
    """Run a proxy that sends the same bytes to everyone, and yield its address."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            with suppress(OSError):  # the client closed the connection
                for block in answer():
                    self.request.sendall(block)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
