"""Users' own images: where they are, how they name people and cameras, and the function that reads them.

A dataset of the registry has a name, a published number of images and published scores; users' own images have none.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from reidhub.datasets.folders import printable
from reidhub.datasets.own_folders import (
    explain_mismatch,
    read_market_folders,
    read_matching_images,
    read_people_folders,
)
from reidhub.datasets.own_labels import make_records
from reidhub.datasets.own_table import read_table
from reidhub.datasets.records import Record, RetrievalSet, compute_fingerprint
from reidhub.errors import DatasetError, UsageError

NAME = "own images"
Layout = Literal["market1501", "identities", "csv", "pattern"]

_ARGUMENTS = ("data", "query", "gallery", "pattern")
_USAGE: Mapping[str, str] = {
    "market1501": "--layout market1501 --data DIR",
    "identities": "--layout identities --data DIR",
    "csv": "--layout csv --data FILE.csv",
    "pattern": "--query DIR --gallery DIR --pattern REGEX",
}
_EXAMPLES = {
    ("pid", "camid"): r"(?P<pid>-?\d+)_c(?P<camid>\d+) fits 0007_c2_000123.jpg",
    ("pid",): r"(?P<pid>[^/]+)/ fits anna/000123.jpg",
}


@dataclass(frozen=True, slots=True)
class OwnImages:
    r"""The folders or the CSV file with a user's own images, and how to read person and camera from them.

    Args:
        layout: ``market1501``: a folder with the folders ``query`` and ``gallery`` (or ``bounding_box_test``), and
            Market-1501's file names. ``identities``: a folder with one folder for each person, without cameras; each
            image is a query against all other images (leave-one-out). ``csv``: a CSV file with the columns ``path``,
            ``pid``, ``camid`` and ``split``. ``pattern``: two folders, and a regular expression that finds pid and
            camera in the path of each image.
        data: the folder, or the CSV file; None for ``pattern``.
        query: folder of the queries, for ``pattern`` only.
        gallery: folder of the gallery, for ``pattern`` only.
        pattern: regular expression with the named groups ``pid`` and ``camid``, such as
            ``(?P<pid>-?\d+)_c(?P<camid>\d+)``; for ``pattern`` only. It is searched in the path of each image below its
            folder, with forward slashes.
        cameras: ``use``, or ``ignore`` if there are no cameras: the CSV file then needs no ``camid``, and the pattern
            only ``pid``.

    Raises:
        UsageError: arguments are missing or do not go together, or the pattern is not a regular expression with the
            needed groups.
    """

    layout: Layout
    data: Path | None
    query: Path | None = None
    gallery: Path | None = None
    pattern: str | None = None
    cameras: Literal["use", "ignore"] = "use"

    def __post_init__(self) -> None:
        if self.layout not in _USAGE:
            raise UsageError(f"expected the layout {', '.join(get_args(Layout))}, got {self.layout!r}")
        if self.cameras not in ("use", "ignore"):
            raise UsageError(f"expected cameras use or ignore, got {self.cameras!r}")
        if self.layout != "pattern" and (self.query or self.gallery):
            raise UsageError("query and gallery need --pattern, in Python pattern=...", hint=_USAGE["pattern"])
        wanted = _ARGUMENTS[1:] if self.layout == "pattern" else _ARGUMENTS[:1]
        given = [name for name in _ARGUMENTS if getattr(self, name) is not None]
        if missing := [name for name in wanted if name not in given]:
            raise UsageError(f"the layout {self.layout} needs {' and '.join(missing)}", hint=_USAGE[self.layout])
        if surplus := [name for name in given if name not in wanted]:
            raise UsageError(f"the layout {self.layout} takes no {' and no '.join(surplus)}", hint=_USAGE[self.layout])
        if self.pattern is not None:
            _compile(self.pattern, self.groups)

    @property
    def groups(self) -> tuple[str, ...]:
        """The named groups that the pattern needs."""
        return ("pid", "camid") if self.cameras == "use" else ("pid",)

    @property
    def root(self) -> Path:
        """The folder to which the names of images are relative: the innermost one with all folders, or the CSV's."""
        if self.query and self.gallery:
            return Path(os.path.commonpath([self.query.absolute(), self.gallery.absolute()]))
        data = (self.data or Path()).absolute()
        return data.parent if self.layout == "csv" else data

    @property
    def title(self) -> str:
        """The name of the folder or of the CSV file."""
        return printable((self.data or self.root).absolute().name) or NAME


def read_own_images(own: OwnImages) -> RetrievalSet:
    """Read the query and the gallery of a user's own images; open no image.

    Returns:
        Records in the order of the paths or, for a CSV file, of its lines. Labels that are whole numbers keep their
        values; other labels are numbered in sorted order. Images with a negative pid are junk and left out. Images in
        ``identities`` are read as leave-one-out. The name is ``own images``, and the title that of the folder or file.

    Raises:
        DatasetError: the images do not have this layout, image files are missing, the query or the gallery is empty, an
            image would find itself, or all images show one person.
    """
    try:
        splits = _read_splits(own)
        _check_splits(splits, own)
        fingerprint = compute_fingerprint(own.root, splits)
    except OSError as error:
        where = error.filename or own.title
        raise DatasetError(printable(f"{where} cannot be read: {error.strerror or error}")) from error
    alone = own.layout == "identities"
    return RetrievalSet(
        NAME, own.title, None, own.root, splits["query"], splits["gallery"], fingerprint, None, leave_one_out=alone
    )


def _read_splits(own: OwnImages) -> dict[str, tuple[Record, ...]]:
    if own.query and own.gallery and own.pattern:
        pattern = _compile(own.pattern, own.groups)
        query = read_matching_images(own.query.absolute(), pattern, own.groups)
        gallery = read_matching_images(own.gallery.absolute(), pattern, own.groups)
        return make_records({"query": query, "gallery": gallery})
    data = (own.data or Path()).absolute()
    if own.layout == "csv":
        if not data.is_file():
            raise explain_mismatch(data, f"{data}: expected a CSV file")
        return make_records(read_table(data, ignore_cameras=own.cameras == "ignore"))
    if not data.is_dir():
        raise explain_mismatch(data, f"{data}: expected a folder")
    if own.layout == "identities":
        records = make_records({"query": read_people_folders(data)})["query"]
        return {"query": records, "gallery": records}
    return read_market_folders(data)


def _check_splits(splits: Mapping[str, tuple[Record, ...]], own: OwnImages) -> None:
    """Raise DatasetError if the images cannot be scored, or if a score would mean nothing."""
    if empty := [split for split, records in splits.items() if not records]:
        raise DatasetError(f"{own.title}: no images in {' and '.join(empty)}")
    people = {record.pid for records in splits.values() for record in records}
    if len(people) == 1:
        raise DatasetError(f"{own.title}: all images show one person: there is nobody to confuse with")
    if own.layout != "identities":
        _check_overlap(splits, own)
    elif len(people) == len(splits["query"]):
        raise DatasetError(f"{own.title}: each person has one image: there is no other to find")


def _check_overlap(splits: Mapping[str, tuple[Record, ...]], own: OwnImages) -> None:
    """Raise DatasetError if an image is in query and gallery, and the rule about cameras does not leave it out."""
    gallery = {str(record.path): record for record in splits["gallery"]}
    found = [
        query.path
        for query in splits["query"]
        if (same := gallery.get(str(query.path))) and (own.cameras == "ignore" or same != query)
    ]
    if found:
        count = f"{len(found)} images are in query and in gallery, such as {printable(found[0])}"
        hint = "give an image the same pid and camid in both, or use --layout identities if there are no cameras"
        raise DatasetError(f"{own.title}: {count}: each would find itself", hint=hint)


def _compile(pattern: str, groups: tuple[str, ...]) -> re.Pattern[str]:
    """Compile a regular expression, and check that it has the named groups."""
    example = f"an example: {_EXAMPLES[groups]}"
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"the pattern {pattern!r} is not a regular expression: {error}", hint=example) from error
    if missing := [f"(?P<{group}>...)" for group in groups if group not in compiled.groupindex]:
        if missing == ["(?P<camid>...)"]:
            example += "; --cameras ignore needs no camid"
        raise UsageError(f"the pattern {pattern!r} has no group {' and no group '.join(missing)}", hint=example)
    return compiled
