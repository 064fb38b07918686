"""An internet on the loopback: the hosts that checkpoints come from, under their real names and with real TLS.

It is a proxy. A client reaches it through the standard variables alone (``HTTPS_PROXY``, ``REQUESTS_CA_BUNDLE``), so
the code under it is what runs against the real hosts. A host that is not defined does not exist: CONNECT gets a 502.
"""

import os
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reidhub.testing.authority import Authority


@dataclass(frozen=True, slots=True)
class Request:
    """What a host was asked; ``path`` includes the query."""

    host: str
    method: str
    path: str
    headers: HTTPMessage
    body: bytes = b""


@dataclass(slots=True)
class Response:
    """What a host answers.

    Args:
        status: HTTP status code.
        body: the bytes, or blocks of them. Blocks without a ``Content-Length`` of the host's own end with the
            connection; a block iterator that raises `Dropped` cuts the connection.
        headers: sent as they are; ``Content-Length`` is added for a body of bytes.
    """

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)


Host = Callable[[Request], Response]


class Dropped(Exception):
    """Raised by a body to cut the connection where it stands."""


class Internet:
    """The hosts, reachable while the ``with`` block lasts.

    Args:
        hosts: host name -> what answers there, called in the thread of each connection.

    Attributes:
        environment: variables that lead a client here; set for a subprocess, or in this process.
        log: every request in the order of arrival, those to unknown hosts as ``CONNECT``.
    """

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self.hosts = dict(hosts)
        self.environment: dict[str, str] = {}
        self.log: list[Request] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="reidhub-internet-"))
            authority = Authority(Path(folder))
            context = authority.server_context(self.hosts or ["localhost"])
            server = self._stack.enter_context(_Proxy(self, context))
            self._stack.callback(server.hang_up)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            self._stack.callback(server.shutdown)
            self.environment = _environment(server.server_port, authority.bundle)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def requests(self, host: str) -> list[Request]:
        """The requests one host has seen."""
        return [request for request in self.log if request.host == host]


@contextmanager
def online(hosts: Mapping[str, Host]) -> Iterator[Internet]:
    """An `Internet` that this process itself is led to while the block lasts."""
    with Internet(hosts) as internet:
        before = {name: os.environ.get(name) for name in internet.environment}
        os.environ.update(internet.environment)
        try:
            yield internet
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _environment(port: int, bundle: Path) -> dict[str, str]:
    proxy = f"http://127.0.0.1:{port}"
    names = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "NO_PROXY": ""}
    lower = {name.lower(): value for name, value in names.items()}  # these win where a user has set them
    return {**names, **lower, "REQUESTS_CA_BUNDLE": str(bundle)}


class _Proxy(ThreadingHTTPServer):
    daemon_threads = False  # so that leaving the block waits for the last answer
    request_queue_size = 64

    def __init__(self, internet: Internet, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.internet = internet
        self.context = context
        self._open: set[Any] = set()

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def swap(self, plain: Any, encrypted: Any) -> None:
        self._open.discard(plain)
        self._open.add(encrypted)

    def forget(self, connection: Any) -> None:
        self._open.discard(connection)

    def hang_up(self) -> None:
        """Wake every thread that waits for its client."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(2)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that hangs up is no error of a host
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    server: _Proxy
    protocol_version = "HTTP/1.1"
    host = ""

    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0]
        if self.host or host not in self.server.internet.hosts:
            self._note(b"", host=host)
            self._send(Response(502))
            return
        self.send_response(200)
        self.end_headers()
        plain = self.connection
        self.connection = self.server.context.wrap_socket(plain, server_side=True)
        self.server.swap(plain, self.connection)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.host = host
        self.close_connection = False

    def do_GET(self) -> None:
        request = self._note(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        host = self.server.internet.hosts.get(self.host)
        self._send(host(request) if host else Response(502))  # no host: a plain-http request to the proxy itself

    do_POST = do_GET

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.forget(self.connection)
            self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Stderr stays quiet: what came is in `Internet.log`."""

    def _note(self, body: bytes, *, host: str | None = None) -> Request:
        name = self.host if host is None else host
        request = Request(name, self.command, self.path, self.headers, body)  # type: ignore[arg-type]
        self.server.internet.log.append(request)
        return request

    def _send(self, response: Response) -> None:
        headers = dict(response.headers)
        body = response.body
        if isinstance(body, bytes):
            headers.setdefault("Content-Length", str(len(body)))
            body = [body]
        if "Content-Length" not in headers:
            headers["Connection"] = "close"
        self.send_response_only(response.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._send_body(body, most=_length(headers))

    def _send_body(self, body: Iterable[bytes], *, most: int | None) -> None:
        sent = 0
        try:
            for block in body:
                self.wfile.write(block)
                self.wfile.flush()
                sent += len(block)
        except Dropped:
            self.close_connection = True
        self.close_connection = self.close_connection or most != sent


def _length(headers: Mapping[str, str]) -> int | None:
    return int(headers["Content-Length"]) if "Content-Length" in headers else None
