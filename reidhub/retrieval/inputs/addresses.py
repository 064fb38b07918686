"""Files behind addresses such as ``s3://bucket/crops/a.jpg`` or ``gs://...``, read through fsspec.

The packages that fsspec uses raise errors of any kind; all become a `DatasetError`. Listings are not kept in memory.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import IO, Any

from reidhub.errors import DatasetError, ReidhubError, UsageError

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")  # where the file systems keep it


@contextmanager
def explain_errors(path: str) -> Iterator[None]:
    """Turn any error of a ``with`` block that reads ``path`` into a `DatasetError`."""
    try:
        yield
    except (ReidhubError, MemoryError):
        raise
    except Exception as error:  # the packages behind fsspec raise types of their own
        reason = (error.strerror if isinstance(error, OSError) else None) or error or type(error).__name__
        missing = "there is no such file" if isinstance(error, FileNotFoundError) else reason
        raise DatasetError(f"{path} cannot be read: {missing}") from error


@lru_cache(maxsize=64)
def _check_protocol(protocol: str) -> None:
    import fsspec

    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        raise UsageError(
            f"addresses with {protocol}:// need a package: {error}", hint="pip install 'reidhub[cloud]'"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"fsspec knows no addresses with {protocol}://: {error}", hint="give an s3://, gs:// or https:// address"
        ) from error


def check(address: str) -> None:
    """Check that the package for an address is installed.

    Raises:
        UsageError: it is not installed, or fsspec does not know such addresses.
    """
    for part in address.split("::"):  # such as zip://a.jpg::s3://bucket/all.zip
        _check_protocol(part.partition("://")[0])


def describe(address: str) -> tuple[int, int, bool]:
    """Return size in bytes (-1 if unknown), modification time in ns (0 if unknown), and True for a folder.

    Raises:
        DatasetError: it does not exist, or cannot be read.
        UsageError: the package for such addresses is not installed.
    """
    files, path = _connect(address)
    with explain_errors(address):
        return _read_info(files.info(path))


def list_folder(address: str) -> Iterator[tuple[str, int, int, bool]]:
    """Yield the name of each entry of a folder, and what `describe` returns for it.

    Entries are in the order of their full paths. Hidden files and folders are left out.

    Raises:
        DatasetError: the folder cannot be read.
        UsageError: the package for such addresses is not installed.
    """
    files, path = _connect(address)
    start = path.rstrip("/") + "/"
    found = []
    with explain_errors(address):
        for info in files.ls(path, detail=True):
            name = str(info["name"]).rstrip("/")
            if not name.startswith(start):  # the folder itself, or a link on a web page
                continue
            name = name.removeprefix(start)
            if name and "/" not in name and not name.startswith("."):
                found.append((name, *_read_info(info)))
    yield from sorted(found, key=lambda entry: f"{entry[0]}/" if entry[3] else entry[0])


def open_file(address: str) -> IO[bytes]:
    """Open a file for reading.

    Raises:
        DatasetError: it does not exist, or cannot be read.
        UsageError: the package for such addresses is not installed.
    """
    files, path = _connect(address)
    with explain_errors(address):
        opened: IO[bytes] = files.open(path, "rb")
        return opened


def read(address: str, start: int | None = None, stop: int | None = None) -> bytes:
    """Read a file, or its bytes from ``start`` to ``stop``.

    Raises:
        DatasetError: it does not exist, or cannot be read.
        UsageError: the package for such addresses is not installed.
    """
    files, path = _connect(address)
    with explain_errors(address):
        return bytes(files.cat_file(path, start=start, end=stop))


def _connect(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it. Connections are kept by fsspec."""
    from fsspec.core import url_to_fs

    check(address)
    with explain_errors(address):
        files, path = url_to_fs(address, use_listings_cache=False)
        return files, str(path)


def _read_info(info: dict[str, Any]) -> tuple[int, int, bool]:
    size = info.get("size")
    size = size if isinstance(size, int) and size >= 0 else -1
    times = (_read_time(info[key]) for key in _TIMES if info.get(key) is not None)
    return size, next(times, 0), info.get("type") == "directory"


def _read_time(given: object) -> int:
    """Return a time in nanoseconds since 1970, from seconds, a `datetime` or a text; 0 if it is none of these."""
    try:
        if isinstance(given, str):
            given = datetime.fromisoformat(given)
        if isinstance(given, datetime):
            given = (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0
    if not isinstance(given, int | float) or not math.isfinite(given) or not 0 <= given < 1 << 33:
        return 0
    return round(given * 1_000_000) * 1000  # a float has no exact nanoseconds
