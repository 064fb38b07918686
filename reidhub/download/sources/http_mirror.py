"""Reads files from a web host without TLS: only from the user's own mirror, and only files with a known sha256.

The manifest cannot name such a host. This module does not check the sha256; its callers must do so.
"""

from contextlib import AbstractContextManager
from urllib.parse import urljoin, urlsplit

from reidhub.download.sources import Resume, Stream
from reidhub.download.sources.http import Session
from reidhub.download.sources.https import open_checked, probe_checked
from reidhub.download.sources.patience import PATIENCE, Patience
from reidhub.errors import SourceError


def open_stream(
    location: str, *, resume: Resume | None = None, patience: Patience = PATIENCE
) -> AbstractContextManager[Stream]:
    """Open an ``http:`` URL; see `reidhub.download.sources.SourceModule`. Redirects to other hosts are refused.

    Raises:
        SourceError: the host does not give the file, or redirects to another host.
    """
    return open_checked(location, Session(patience), _check_mirror, resume)


def _check_mirror(url: str, base: str = "") -> str:
    try:
        whole = urljoin(base, url)
        parts, home = urlsplit(whole), urlsplit(base or whole)
        same_host = (parts.scheme, parts.netloc) == (home.scheme, home.netloc)
    except ValueError:
        raise SourceError("the address is malformed", permanent=True) from None
    if parts.scheme != "http" or not parts.hostname or parts.username is not None or not same_host:
        raise SourceError(f"{parts.hostname}: not the plain http address of the mirror", permanent=True)
    return whole


def probe(location: str, *, patience: Patience = PATIENCE) -> int | None:
    """Return the size of the file at an ``http:`` URL, in bytes; see `reidhub.download.sources.probe`."""
    return probe_checked(location, Session(patience), _check_mirror)
