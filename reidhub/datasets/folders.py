"""Find the folder of a dataset below the data root, and list images in a fixed order."""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

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
    listed = f"{data_root} contains {_list_names(data_root)}"
    return DatasetNotFoundError("\n  ".join([message, *lines, listed]), hint=hint)


def describe_contents(folder: Path) -> str:
    """Return a sentence that counts the folders and images directly in a folder, and names the first entries."""
    folders = sum(entry.is_dir() for entry in list_entries(folder))
    return f"{folder} contains {folders} folders and {len(list_images(folder))} images: {_list_names(folder)}"


def _list_names(folder: Path) -> str:
    found = [entry.name for entry in list_entries(folder)]
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{', '.join(found[:_SHOWN]) or 'nothing'}{more}"


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
    return [path for path in list_entries(folder) if _is_image_name(path.name) and path.is_file()]


def list_images_below(folder: Path) -> list[Path]:
    """List the image files of a folder and of all folders in it, in the order of their paths.

    Hidden files and folders are left out. Links to folders are followed; a folder that is reached twice is read once.

    Raises:
        DatasetError: a folder cannot be read.
    """
    found: list[str] = []
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, onerror=_explain_unreadable, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(parent, name) for name in files if _is_image_name(name)]  # noqa: PTH118
    return [Path(path) for path in sorted(found)]


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def _explain_unreadable(error: OSError) -> NoReturn:
    raise DatasetError(f"{error.filename} cannot be read: {error.strerror or error}") from error


def list_entries(folder: Path) -> list[Path]:
    """List the files and subfolders of a folder in the order of their names, without hidden files and folders.

    Raises:
        DatasetError: the folder cannot be read.
    """
    try:
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        _explain_unreadable(error)
    return sorted(found, key=lambda path: path.name)


def printable(text: Path | str) -> str:
    """Return a text that can be printed: bytes of names that are not UTF-8 become question marks."""
    return str(text).encode(errors="surrogateescape").decode(errors="replace")
