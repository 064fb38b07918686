"""MSMT17 (Wei et al., CVPR 2018, arXiv 1711.08565): 4,101 people, 15 cameras; list files name the images of each split.

The line ``0000/0000_000_01_0303morning_0015_0.jpg 0`` of a list means pid 0, seen by camera 1. The images of version V1
are in the folder ``test``. V2 has the same images with blurred faces, in ``mask_test_v2``. Published scores were
measured on V1; scores measured on V2 cannot be compared with them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from reidhub.datasets.counts import Copy, find_published_counts, leave_out_missing
from reidhub.datasets.folders import find_root
from reidhub.datasets.records import Record, RetrievalSet, compute_fingerprint
from reidhub.errors import DatasetError, DatasetNotFoundError

FOLDER = "msmt17/MSMT17_V1 (or MSMT17_V2), with list_query.txt, list_gallery.txt and test (or mask_test_v2) in it"
TITLE = "MSMT17"
_PLACES = ("msmt17/MSMT17_V1", "msmt17/MSMT17_V2", "MSMT17_V1", "MSMT17_V2", "msmt17", "")
_LISTS = {"query": "list_query.txt", "gallery": "list_gallery.txt"}
_VERSIONS = {"V1": "test", "V2": "mask_test_v2"}
_LINE = re.compile(r"(?P<file>\S+) +(?P<pid>\d{1,9})")
_NAME = re.compile(r"\d+_\d+_(?P<camera>\d{1,9})_")


def read(data_root: Path, *, allow_partial: bool = False) -> RetrievalSet:
    """Read MSMT17 below ``data_root``: the version V1 or V2, whichever is there; V1 if both are.

    Raises:
        DatasetNotFoundError: no folder below ``data_root`` holds a copy.
        DatasetError: a list file cannot be read, an image's name has no camera, a path leads out of the dataset's
            folder, or the copy is incomplete and ``allow_partial`` is False.
    """
    root = find_root("msmt17", data_root, _PLACES, tuple(_LISTS.values()))
    version = _find_version(root)
    lists = {split: _List(root / file, root / _VERSIONS[version]) for split, file in _LISTS.items()}
    listed = {split: tuple(entry.read_records()) for split, entry in lists.items()}
    splits, flaws = leave_out_missing(listed)
    copy = Copy("msmt17", f"{TITLE} {version}", root, find_published_counts("msmt17"), flaws)
    partial = copy.check(splits, allow_partial=allow_partial)
    fingerprint = compute_fingerprint(root, splits)
    return RetrievalSet("msmt17", TITLE, version, root, splits["query"], splits["gallery"], fingerprint, partial)


def _find_version(root: Path) -> str:
    for version, folder in _VERSIONS.items():
        if (root / folder).is_dir():
            return version
    raise DatasetNotFoundError(f"msmt17: {root} has the lists, but neither {' nor '.join(_VERSIONS.values())}")


@dataclass(frozen=True, slots=True)
class _List:
    """A list file of one split, and the folder to which the paths in the list are relative."""

    file: Path
    folder: Path

    def read_records(self) -> Iterator[Record]:
        """Read one record from each line of the list, in the order of the lines."""
        try:
            lines = self.file.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
        except OSError as error:
            raise DatasetError(f"{self.file} cannot be read: {error.strerror or error}") from error
        seen: set[str] = set()
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield self._read_record(line.strip(), f"{self.file}:{number}", seen)

    def _read_record(self, line: str, where: str, seen: set[str]) -> Record:
        match = _LINE.fullmatch(line)
        if match is None:
            raise DatasetError(f"{where}: expected a path and a pid, got {line!r}")
        path = PurePosixPath(match["file"])
        if path.is_absolute() or ".." in path.parts or PureWindowsPath(path).drive or "\\" in match["file"]:
            raise DatasetError(f"{where}: {match['file']!r} is not a path below {self.folder}")
        if match["file"] in seen:
            raise DatasetError(f"{where}: {match['file']!r} is listed twice")
        seen.add(match["file"])
        name = _NAME.match(path.name)
        if name is None or int(name["camera"]) < 1:
            raise DatasetError(f"{where}: expected a name like 0000_000_01_0303morning_0015_0.jpg, got {path.name!r}")
        return Record(self.folder / path, int(match["pid"]), int(name["camera"]) - 1)
