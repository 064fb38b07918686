"""Find the folder of a dataset below the data root, and list images in a fixed order."""

from collections.abc import Sequence
from pathlib import Path

from reidhub.errors import DatasetError, DatasetNotFoundError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


def find_root(name: str, data_root: Path, places: Sequence[str], holds: Sequence[str]) -> Path:
    """Find the first folder below the data root that contains the parts of a dataset.

    Args:
        name: key of the dataset registry, for the message.
        data_root: the folder with the user's datasets, or the dataset's own folder.
        places: folders below ``data_root``, in the order in which they are tried; ``""`` is ``data_root`` itself.
        holds: names of the files and folders that the dataset's folder must contain.

    Raises:
        DatasetNotFoundError: no folder contains all of ``holds``; the message lists what each folder lacks.
    """
    lines = []
    for place in places:
        folder = data_root / place
        missing = [entry for entry in holds if not (folder / entry).exists()]
        if not missing:
            return folder
        lines.append(f"  {folder}: {'no ' + ', no '.join(missing) if folder.is_dir() else 'no such folder'}")
    raise DatasetNotFoundError(
        "\n".join([f"{name}: no folder with {' and '.join(holds)} below {data_root}", *lines]),
        hint="the data root is the folder with your datasets, or the dataset's own folder",
    )


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
