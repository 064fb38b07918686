"""An internet on this machine: a proxy that answers for all hosts of a test, with real TLS.

A client finds the proxy through the usual variables (``HTTPS_PROXY``, ``REQUESTS_CA_BUNDLE``), so the code under test
runs unchanged. The proxy answers a CONNECT request for any other host with the status 502.
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
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reidhub.testing.authority import Authority


@dataclass(frozen=True, slots=True)
class Request:
    """One request as a host receives it.

    Args:
        host: host name; empty for a request to an ``http:`` URL, which no host answers.
        method: ``GET`` or ``POST``; ``CONNECT`` for a request to a host that the `Internet` does not have.
        path: path and query of the URL.
        headers: name -> value; upper and lower case in a name make no difference.
        body: the whole body.
    """

    host: str
    method: str
    path: str
    headers: HTTPMessage
    body: bytes = b""


@dataclass(slots=True)
class Response:
    """The answer of a host.

    Args:
        status: HTTP status code.
        body: all bytes, or an iterable of blocks that are sent one by one. An iterable that raises
            `ConnectionDroppedError` cuts the connection at that place.
        headers: headers to send. ``Content-Length`` is added if the body is bytes. If the body is an iterable and the
            headers have no ``Content-Length``, the connection is closed after the body.
        head: blocks to send one by one in place of the status line and the headers, for a host that answers slowly or
            wrongly; the connection is closed after the body. None for the usual head.
    """

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    head: Iterable[bytes] | None = None


Host = Callable[[Request], Response]
"""A function that gets a request and returns the answer of a host; many threads may call it at once."""


class ConnectionDroppedError(Exception):
    """Raised by the body of a `Response` to cut the connection after the blocks sent so far.

    Example:
        >>> def drop_after_half(request: Request) -> Response:
        ...     def blocks():
        ...         yield b"first half"
        ...         raise ConnectionDroppedError
        ...     return Response(200, blocks(), {"Content-Length": "20"})
        >>> import requests
        >>> with online({"example.org": drop_after_half}):
        ...     try:
        ...         requests.get("https://example.org/a", timeout=5)
        ...     except requests.exceptions.ChunkedEncodingError:
        ...         print("the connection broke")
        the connection broke
    """


class Internet:
    """Hosts that a subprocess can reach while the ``with`` block runs; for this process, use `online` instead.

    Args:
        hosts: host name -> function that answers for the host.

    Attributes:
        hosts: a copy of the argument; a test may replace a host in it while the block runs.
        environment: the environment variables through which a client finds the proxy.
        log: all requests in the order of arrival. A request to a host not in ``hosts`` appears as ``CONNECT``.

    Example:
        >>> import os, subprocess, sys
        >>> from reidhub.testing import Internet, Static
        >>> code = "import requests; print(requests.get('https://example.org/a', timeout=5).text)"
        >>> with Internet({"example.org": Static({"/a": b"content"})}) as internet:
        ...     environment = {**os.environ, **internet.environment}
        ...     subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip()
        'content'
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
            context = authority.make_server_context(self.hosts or ["localhost"])
            server = self._stack.enter_context(_Proxy(self, context))
            self._stack.callback(server.close_connections)
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
        """List the requests that one host has received, in the order of arrival."""
        return [request for request in self.log if request.host == host]


@contextmanager
def online(hosts: Mapping[str, Host]) -> Iterator[Internet]:
    """Open an `Internet` and let this process use it while the block runs.

    The block sets the proxy variables of the whole process and restores them at the end, so use only one block at a
    time.

    Args:
        hosts: host name -> function that answers for the host.

    Example:
        >>> import requests
        >>> from reidhub.testing import Static, online
        >>> with online({"example.org": Static({"/a": b"content"})}):
        ...     requests.get("https://example.org/a", timeout=5).status_code
        200
    """
    with Internet(hosts) as internet:
        before = {name: os.environ.get(name) for name in internet.environment}
        os.environ.update(internet.environment)
        try:
            yield internet
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)  # on Windows the two spellings of a name are one variable
                else:
                    os.environ[name] = value


def _environment(port: int, bundle: Path) -> dict[str, str]:
    proxy = f"http://127.0.0.1:{port}"
    names = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "NO_PROXY": ""}
    lower = {name.lower(): value for name, value in names.items()}  # clients prefer these, and a user may have set them
    return {**names, **lower, "REQUESTS_CA_BUNDLE": str(bundle)}


class _Proxy(ThreadingHTTPServer):
    daemon_threads = False  # closing the server waits for the last answer
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

    def replace_connection(self, plain: Any, encrypted: Any) -> None:
        self._open.discard(plain)
        self._open.add(encrypted)

    def forget_connection(self, connection: Any) -> None:
        self._open.discard(connection)

    def close_connections(self) -> None:
        """Shut down every open connection, so that no thread waits for a client any longer."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(2)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # OSError: the client closed the connection, not a fault of a host
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    server: _Proxy
    protocol_version = "HTTP/1.1"
    host = ""

    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0]
        if self.host or host not in self.server.internet.hosts:
            self._log_request(b"", host=host)
            self._send(Response(502))
            return
        self.send_response(200)
        self.end_headers()
        plain = self.connection
        self.connection = self.server.context.wrap_socket(plain, server_side=True)
        self.server.replace_connection(plain, self.connection)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.host = host
        self.close_connection = False

    def do_GET(self) -> None:
        request = self._log_request(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        host = self.server.internet.hosts.get(self.host)
        self._send(host(request) if host else Response(502))  # no host: a plain http request to the proxy

    do_POST = do_GET

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.forget_connection(self.connection)
            self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the requests are in `Internet.log`."""

    def _log_request(self, body: bytes, *, host: str | None = None) -> Request:
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
        if response.head is not None:
            self._send_body(chain(response.head, body), promised=None)
            return
        if "Content-Length" not in headers:
            headers["Connection"] = "close"
        self.send_response_only(response.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._send_body(body, promised=_content_length(headers))

    def _send_body(self, body: Iterable[bytes], *, promised: int | None) -> None:
        sent = 0
        try:
            for block in body:
                self.wfile.write(block)
                self.wfile.flush()
                sent += len(block)
        except ConnectionDroppedError:
            self.close_connection = True
        self.close_connection = self.close_connection or sent != promised


def _content_length(headers: Mapping[str, str]) -> int | None:
    return int(headers["Content-Length"]) if "Content-Length" in headers else None
