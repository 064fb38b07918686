"""CUHK03 (Li et al., CVPR 2014) in the new protocol (Zhong et al., arXiv 1701.08398), as torchreid writes it.

``1_001_2_08.png`` shows person 1 of the first pair of cameras, seen by the second camera of the pair. The files
``splits_new_detected.json`` and ``splits_new_labeled.json`` list query and gallery of 700 people. The boxes of the
version ``detected`` come from a detector; people drew those of ``labeled``. Published scores were measured on
``detected``; scores measured on ``labeled`` cannot be compared with them.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from reidhub.datasets.counts import Copy, find_published_counts, leave_out_missing
from reidhub.datasets.folders import find_root, printable
from reidhub.datasets.records import Record, RetrievalSet, compute_fingerprint
from reidhub.errors import DatasetError, DatasetNotFoundError
from reidhub.files.regular_file import open_regular_file
from reidhub.files.strict_json import from_json

FOLDER = (
    "cuhk03, with images_detected and splits_new_detected.json (or those of labeled) in it, as torchreid writes them"
)
TITLE = "CUHK03"
_PLACES = ("cuhk03", "")
_VERSIONS = ("detected", "labeled")
_NAME = re.compile(r"\d{1,9}_\d{1,9}_(?P<view>[12])_\d{1,9}\.png", re.ASCII)
_ENTRY = '["1_001_2_08.png", 0, 1], with a path, a pid and a camera'
_LONGEST = 1 << 26  # bytes; torchreid's files have about 4 MB
_HINT = "torchreid makes these files from cuhk-03.mat when it loads CUHK03 for the first time"


def read(data_root: Path, *, allow_partial: bool = False) -> RetrievalSet:
    """Read the version ``detected`` or ``labeled`` of CUHK03 below ``data_root``: ``detected`` if both are there.

    If ``data_root`` is the folder ``images_labeled`` itself, that version is read.

    Raises:
        DatasetNotFoundError: no folder below ``data_root`` holds a copy.
        DatasetError: the file with the splits is not as torchreid writes it, or the copy is incomplete and
            ``allow_partial`` is False.
    """
    root, version = _find_copy(data_root)
    listed = _read_splits(root, version)
    splits, flaws = leave_out_missing(listed)
    copy = Copy("cuhk03", f"{TITLE} {version}", root, find_published_counts("cuhk03", version), flaws)
    partial = copy.check(splits, allow_partial=allow_partial)
    fingerprint = compute_fingerprint(root, splits)
    return RetrievalSet("cuhk03", TITLE, version, root, splits["query"], splits["gallery"], fingerprint, partial)


def _find_copy(data_root: Path) -> tuple[Path, str]:
    """Find the folder of a copy, and the version to read."""
    chosen = [version for version in _VERSIONS if data_root.name == _name_images(version)]
    data_root = data_root.parent if chosen else data_root
    problems = []
    for version in chosen or _VERSIONS:
        try:
            return find_root("cuhk03", data_root, _PLACES, (_name_images(version), _name_splits(version))), version
        except DatasetNotFoundError as error:
            problems.append(error.message)
    raise DatasetNotFoundError("\n".join(problems), hint=_HINT)


def _name_images(version: str) -> str:
    return f"images_{version}"


def _name_splits(version: str) -> str:
    return f"splits_new_{version}.json"


def _read_splits(root: Path, version: str) -> dict[str, tuple[Record, ...]]:
    """Read the records of query and gallery, in the order of the list; their files may be missing."""
    file = root / _name_splits(version)
    with open_regular_file(file) as opened:
        text = opened.read(_LONGEST + 1)
    try:
        splits = from_json(tuple[dict[str, Any], ...], text) if len(text) <= _LONGEST else ()
    except ValueError as error:
        raise DatasetError(f"{file} cannot be read: {error}", hint=_HINT) from error
    match splits:
        case ({"query": [*query], "gallery": [*gallery]},):
            lists = {"query": query, "gallery": gallery}
        case _:
            raise DatasetError(f"{file}: expected a list of one split, with the lists query and gallery", hint=_HINT)
    folder = root / _name_images(version)
    return {split: tuple(_read_records(entries, f"{file}: {split}", folder)) for split, entries in lists.items()}


def _read_records(entries: list[Any], where: str, folder: Path) -> Iterator[Record]:
    seen: set[Path] = set()
    for place, entry in enumerate(entries, start=1):
        record = _read_record(entry, folder)
        if record is None:
            raise DatasetError(
                printable(f"{where}, entry {place}: expected an entry like {_ENTRY}, got {entry!r:.200}")
            )
        if record.path in seen:
            raise DatasetError(f"{where}, entry {place}: {record.path.name!r} is listed twice")
        seen.add(record.path)
        yield record


def _read_record(entry: Any, folder: Path) -> Record | None:
    """Make the record of an entry; None if the entry is not as torchreid writes it.

    Only the file's name is taken from the path, because the path is one of the machine that wrote the list.
    """
    match entry:
        case [str(path), int(pid), int(camid)] if 0 <= pid < 1 << 31:
            name = _NAME.fullmatch(PureWindowsPath(path).name)
            return Record(folder / name[0], pid, camid) if name and int(name["view"]) - 1 == camid else None
    return None
