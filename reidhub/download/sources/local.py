"""Reads files on this machine, in a mirror folder or at any other path."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from reidhub.download.sources import Resume, Stream
from reidhub.download.sources.patience import PATIENCE, Patience
from reidhub.errors import IntegrityError, SourceError
from reidhub.files.digest import Digest
from reidhub.files.sniff import refuse_pages

_BLOCK = 1 << 20  # bytes


@contextmanager
def open_stream(location: str, *, resume: Resume | None = None, patience: Patience = PATIENCE) -> Iterator[Stream]:
    """Open a path or a ``file:`` URL; see `reidhub.download.sources.SourceModule`.

    Raises:
        SourceError: the path is not a regular file that can be read.
        IntegrityError: the size of the file changed while it was read; raised after the last chunk.
    """
    path = _find_path(location)
    try:
        file = _open_file(path)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {path}: {_explain(path, error)}", permanent=True) from error
    with file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise SourceError(f"{path} is not a regular file", permanent=True)
        state = {"size": info.st_size, "mtime_ns": info.st_mtime_ns}
        offset = resume.offset if resume and resume.state == state and 0 <= resume.offset <= info.st_size else 0
        file.seek(offset)
        yield Stream(_read_blocks(file, path, info.st_size), size=info.st_size, offset=offset, state=state)


def probe(location: str, *, patience: Patience = PATIENCE) -> int | None:
    """Return the size of a local file in bytes, after checking that it can be read and is not a web page.

    Raises:
        SourceError: the path is not a regular file that can be read.
        IntegrityError: the file is a web page or empty.
    """
    with open_stream(location) as stream:
        refuse_pages(stream.chunks)
        return stream.size


def read_digest(location: str) -> Digest | None:
    """Compute the sha256 of a local file; None if it cannot be read."""
    try:
        with open_stream(location) as stream:
            return Digest.of_chunks(stream.chunks)
    except SourceError:
        return None


def _find_path(location: str) -> Path:
    if not location.startswith("file:"):
        return Path(location)
    try:
        url = urlsplit(location)
    except ValueError as error:
        raise SourceError(f"malformed file URL: {error}", permanent=True) from error
    if url.netloc not in ("", "localhost"):
        raise SourceError(f"{location} lies on another machine ({url.netloc})", permanent=True)
    return Path(url2pathname(url.path))


def _open_file(path: Path) -> BinaryIO:
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # opening a named pipe would block
    return os.fdopen(os.open(path, flags), "rb")


def _explain(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError) and not path.parent.exists():  # for example, a disk that is not mounted
        return f"there is no folder {path.parent}"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _read_blocks(file: BinaryIO, path: Path, size: int) -> Iterator[bytes]:
    try:
        while block := file.read(_BLOCK):
            yield block
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    if file.tell() != size:
        raise IntegrityError(f"expected {size} bytes, got {file.tell()}: {path} changed while it was read")
