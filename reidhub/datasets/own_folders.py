"""Reads users' own images from folders, and says what a folder contains if it does not have the expected layout."""

import re
from collections.abc import Sequence
from pathlib import Path

from reidhub.datasets.folders import describe_contents, list_entries, list_images, list_images_below, printable
from reidhub.datasets.market1501 import NAMING
from reidhub.datasets.own_labels import Entry
from reidhub.datasets.records import Record, name_image
from reidhub.errors import DatasetError

_GALLERIES = ("gallery", "bounding_box_test")
_OTHER_NAMES = "for other names of files and folders, use --query DIR --gallery DIR --pattern REGEX"
_SHOWN = 3  # files in a message


def read_market_folders(data: Path) -> dict[str, tuple[Record, ...]]:
    """Read ``query`` and ``gallery`` (or ``bounding_box_test``), with Market-1501's file names.

    Raises:
        DatasetError: the folders are not there or have no images, or a file's name has no pid or camera.
    """
    folders = _find_splits(data)
    if folders is None:
        raise explain_mismatch(data, f"{data}: expected the folders query and gallery (or bounding_box_test)")
    try:
        return {split: NAMING.read_folder(folder) for split, folder in folders.items()}
    except DatasetError as error:
        raise DatasetError(error.message, hint=error.hint or _OTHER_NAMES) from error


def read_people_folders(data: Path) -> list[Entry]:
    """Read a folder that has one folder for each person.

    Returns:
        The images, also those in deeper folders. The name of the person's folder is the pid, and each image has a
        camera of its own.

    Raises:
        DatasetError: images lie beside the folders of the people, there are no images, or the folders are the query
            and the gallery of another layout.
    """
    people = [folder for folder in list_entries(data) if folder.is_dir()]
    images = [(path, person.name) for person in people for path in list_images_below(person)]
    if loose := list_images(data):
        raise explain_mismatch(data, f"{data}: {len(loose)} images are in no person's folder, such as {loose[0].name}")
    if not images or _find_splits(data):
        raise explain_mismatch(data, f"{data}: expected one folder with images for each person")
    return [Entry(path, person, str(camera)) for camera, (path, person) in enumerate(images)]


def read_matching_images(folder: Path, pattern: re.Pattern[str], groups: Sequence[str]) -> list[Entry]:
    """Read the images below a folder, with pid and camera from their paths.

    Args:
        folder: where the images are, also in deeper folders.
        pattern: searched in the path of each image below ``folder``, with forward slashes.
        groups: the groups of the pattern that are needed: ``pid``, and ``camid`` unless cameras are ignored.

    Raises:
        DatasetError: there are no images, or some do not match the pattern.
    """
    entries, unmatched = [], []
    for path in list_images_below(folder):
        match = pattern.search(name_image(path, folder))
        if match is None or not all(match[group] for group in groups):
            unmatched.append(name_image(path, folder))
        else:
            entries.append(Entry(path, match["pid"], match["camid"] if "camid" in groups else "0"))
    if unmatched:
        count = f"{len(unmatched)} of {len(entries) + len(unmatched)} images do not match {pattern.pattern!r}"
        raise DatasetError(printable(f"{folder}: {count}, such as {', '.join(unmatched[:_SHOWN])}"))
    if not entries:
        raise explain_mismatch(folder, f"{folder}: expected images")
    return entries


def explain_mismatch(data: Path, expected: str) -> DatasetError:
    """Return the error for a folder with another layout; it says what the folder contains and which layout would fit.

    Args:
        data: a folder, a file, or a path where nothing is.
        expected: what was expected where.
    """
    if data.is_dir():
        return DatasetError(printable(f"{expected}\n  {describe_contents(data)}"), hint=_guess_layout(data))
    found = "is a file" if data.exists() else "does not exist"
    hint = "it looks like csv: try --layout csv" if data.suffix.lower() == ".csv" and data.is_file() else None
    return DatasetError(printable(f"{expected}\n  {data} {found}"), hint=hint)


def _guess_layout(data: Path) -> str:
    entries = list_entries(data)
    if folders := _find_splits(data):
        names = [path.name for folder in folders.values() for path in list_images(folder)]
        if names and all(NAMING.pattern.match(name) for name in names):
            return "it looks like market1501: try --layout market1501"
        query, gallery = folders.values()
        return f"it has a query and a gallery: try --query {query} --gallery {gallery} --pattern REGEX"
    if tables := [path for path in entries if path.suffix.lower() == ".csv"]:
        return f"it looks like csv: try --layout csv --data {tables[0]}"
    if not list_images(data) and any(list_images(path) for path in entries if path.is_dir()):
        return "it looks like identities: try --layout identities"
    return _OTHER_NAMES


def _find_splits(data: Path) -> dict[str, Path] | None:
    """Return the folders of query and gallery; None if one of them is not there."""
    gallery = next((data / name for name in _GALLERIES if (data / name).is_dir()), None)
    return {"query": data / "query", "gallery": gallery} if gallery and (data / "query").is_dir() else None
