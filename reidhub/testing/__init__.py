"""Test a downloader without a network: hosts on this machine act as Mega, Google Drive and web hosts.

The hosts answer under their real names and over real TLS. A client finds them through the usual proxy variables, so the
code under test runs unchanged. This package needs ``cryptography`` and NumPy, but neither torch nor a checkpoint.

Example:
    >>> import requests
    >>> hosts = {"example.org": Static({"/weights.pth": b"content"})}
    >>> with online(hosts) as internet:
    ...     requests.get("https://example.org/weights.pth", timeout=5).content
    b'content'
    >>> [request.path for request in internet.requests("example.org")]
    ['/weights.pth']

To use this package with pytest, see the docs, page Testing without a network.
"""

from reidhub.testing.hosts import Drive, Mega, Static, mega_link, page
from reidhub.testing.internet import ConnectionDroppedError, Host, Internet, Request, Response, online
from reidhub.testing.jpeg_encoder import encode_jpeg

__all__ = [
    "ConnectionDroppedError",
    "Drive",
    "Host",
    "Internet",
    "Mega",
    "Request",
    "Response",
    "Static",
    "encode_jpeg",
    "mega_link",
    "online",
    "page",
]
