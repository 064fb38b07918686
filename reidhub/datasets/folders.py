"""Find the folder of a dataset below the data root, and list images in a fixed order."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath

from reidhub.errors import DatasetError, DatasetNotFoundError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})

_DEEPEST = 3  # levels below the data root; archives that were unpacked twice have one level more than usual
_SHOWN = 8  # entries of the data root in a message
_HINT = "the data root is the folder with your datasets, or the dataset's own folder"


def find_root(name: str, data_root: Path, places: Sequence[str], holds: Sequence[str]) -> Path:
    """Find the first folder below the data root that contains the parts of a dataset.

    Args:
        name: key of the dataset registry, for the message.
        data_root: the folder with the user's datasets, or the dataset's own folder.
        places: folders below ``data_root``; see `list_places`.
        holds: names of the files and folders that the dataset's folder must contain.

    Raises:
        DatasetNotFoundError: no folder contains all of ``holds``; the message lists what each folder lacks.
    """
    lines = []
    for folder in list_places(data_root, places):
        missing = [entry for entry in holds if not (folder / entry).exists()]
        if not missing:
            return folder
        lines.append(f"{folder}: {'no ' + ', no '.join(missing) if folder.is_dir() else 'no such folder'}")
    raise explain_not_found(f"{name}: no folder with {' and '.join(holds)} below {data_root}", lines, data_root)


def list_places(data_root: Path, places: Sequence[str]) -> list[Path]:
    """List the folders where a dataset may be, in the order in which they are tried.

    After the usual places come all folders with similar names, because users rename folders (``Market1501``) or unpack
    an archive into a folder of the same name (``Market-1501-v15.09.15/Market-1501-v15.09.15``).

    Args:
        data_root: the folder with the user's datasets, or the dataset's own folder.
        places: the usual folders below ``data_root``, in the order in which they are tried; ``""`` is ``data_root``.
            They need not exist.

    Raises:
        DatasetError: a folder cannot be read.
    """
    names = {_simplify(part) for place in places for part in PurePosixPath(place).parts}
    usual = [data_root / place for place in places]
    return list(dict.fromkeys([*usual, *_list_similar(data_root, names, _DEEPEST)]))


def explain_not_found(message: str, lines: Sequence[str], data_root: Path, hint: str = _HINT) -> DatasetNotFoundError:
    """Return the error for a dataset that was not found.

    Args:
        message: what was looked for.
        lines: one for each folder that was tried.
        data_root: its entries are listed.
        hint: what the user can do.
    """
    found = [entry.name for entry in list_entries(data_root)]
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    listed = f"{data_root} contains {', '.join(found[:_SHOWN]) or 'nothing'}{more}"
    return DatasetNotFoundError("\n  ".join([message, *lines, listed]), hint=hint)


def _list_similar(folder: Path, names: Collection[str], depth: int) -> Iterator[Path]:
    """Yield the folders below ``folder`` that have one of the ``names``; inner folders come before outer ones.

    Args:
        folder: where to search.
        names: results of `_simplify`.
        depth: number of levels to search.
    """
    for entry in list_entries(folder) if depth else ():
        if _simplify(entry.name) in names and entry.is_dir():
            yield from _list_similar(entry, names, depth - 1)
            yield entry


def _simplify(name: str) -> str:
    """Return a name in lower case, with letters and digits only: ``Market-1501`` and ``market_1501`` are the same."""
    return re.sub(r"[\W_]", "", name.lower())


def list_images(folder: Path) -> list[Path]:
    """List the image files of one folder in the order of their names.

    The list has no hidden files (such as ``._x.jpg`` of macOS), no files of other types (``Thumbs.db``) and no folders.

    Raises:
        DatasetError: the folder cannot be read.
    """
    return [path for path in list_entries(folder) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]


def list_entries(folder: Path) -> list[Path]:
    """List the files and subfolders of a folder in the order of their names, without hidden files and folders.

    Raises:
        DatasetError: the folder cannot be read.
    """
    try:
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror or error}") from error
    return sorted(found, key=lambda path: path.name)
