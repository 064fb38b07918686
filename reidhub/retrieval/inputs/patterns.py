"""Finds the files below a folder, and the files that match a glob such as ``crops/**/*.jpg``, one by one."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate
from typing import Self

from reidhub.datasets.folders import IMAGE_SUFFIXES
from reidhub.retrieval.inputs.storage import FileInfo, identify_folder, list_folder

_MAGIC = re.compile(r"[*?[]")
_ANY = "**"  # any number of folders, or none


def is_glob(path: str) -> bool:
    """Return True if a path has one of the characters ``*``, ``?`` and ``[``."""
    return _MAGIC.search(path) is not None


def is_image_name(name: str) -> bool:
    """Return True if the name of a file ends like that of an image, and the file is not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def split_glob(glob: str) -> tuple[str, list[str]]:
    """Return the folder in which the search for a glob starts, and the parts of the pattern below it."""
    first = _MAGIC.search(glob)
    start = glob.rfind("/", 0, first.start() if first else len(glob)) + 1
    return glob[:start], [part for part in glob[start:].split("/") if part]


@dataclass(frozen=True, slots=True)
class _Place:
    """How much of a glob the path of a folder has matched.

    Args:
        parts: regular expressions, or ``**``.
        reached: how many parts may have been matched; several numbers, because ``**`` matches any number of folders.
    """

    parts: tuple[re.Pattern[str] | str, ...]
    reached: frozenset[int]

    @classmethod
    def at_start(cls, parts: list[str]) -> Self:
        compiled = tuple(part if part == _ANY else re.compile(translate(part)) for part in parts)
        return cls(compiled, frozenset([0]))._skip_any()

    def enter(self, name: str) -> Self:
        """Return the place after one more name of a path; nothing is reached if the name does not match."""
        after: set[int] = set()
        for number in self.reached:
            part = self.parts[number] if number < len(self.parts) else None
            if part == _ANY:
                after.add(number)
            elif isinstance(part, re.Pattern) and part.match(name):
                after.add(number + 1)
        return type(self)(self.parts, frozenset(after))._skip_any()

    def _skip_any(self) -> Self:
        reached = set(self.reached)
        for number, part in enumerate(self.parts):
            if part == _ANY and number in reached:
                reached.add(number + 1)
        return type(self)(self.parts, frozenset(reached))

    @property
    def matches(self) -> bool:
        """Whether the whole glob matches."""
        return len(self.parts) in self.reached

    def wants(self, name: str) -> bool:
        """Return True if a file of this name, in this folder, matches."""
        return self.enter(name).matches


def find_images(folder: str) -> Iterator[FileInfo]:
    """Yield the images of a folder and of all folders in it, in the order of their paths.

    Hidden files and folders are left out. Links to folders are followed; a folder that is reached twice is read once.

    Raises:
        DatasetError: a folder cannot be read.
    """
    yield from _find(folder, None)


def find_matches(folder: str, parts: list[str]) -> Iterator[FileInfo]:
    """Yield the files that match a glob, and the images in folders that match it, in the order of their paths.

    If the glob ends with a star, only images, tar and Parquet files match it. Hidden files and folders are left out.

    Args:
        folder: where to search.
        parts: the rest of the glob, as from `split_glob`.

    Raises:
        DatasetError: a folder cannot be read.
    """
    for found in _find(folder, _Place.at_start(parts)):
        name = found.path.rsplit("/", 1)[-1]
        if not parts[-1].endswith("*") or is_image_name(name) or name.lower().endswith((".tar", ".parquet")):
            yield found


def _find(folder: str, place: _Place | None) -> Iterator[FileInfo]:
    """Yield the files below a folder that a glob wants; without ``place``, all images.

    The folders that are being read are kept in a list, not in recursive calls: a path may have many parts.
    """
    seen = {identify_folder(folder)}
    open_folders = [(list_folder(folder, place.wants if place else is_image_name), place)]
    while open_folders:
        entries, place = open_folders[-1]
        found = next(entries, None)
        if found is None:
            open_folders.pop()
        elif not found.is_folder:
            yield found
        else:
            below = place and place.enter(found.path.rsplit("/", 1)[-1])
            if below and not below.reached:
                continue
            if (identity := identify_folder(found.path)) in seen:
                continue
            seen.add(identity)
            below = None if below and below.matches else below
            open_folders.append((list_folder(found.path, below.wants if below else is_image_name), below))
