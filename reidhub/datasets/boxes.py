"""The layout of Market-1501 and DukeMTMC-reID: one folder per split, with one cropped person per image.

The file names contain pid and camera. Junk images (badly cropped people) have pid -1, and are not scored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reidhub.datasets.counts import Copy, Counts
from reidhub.datasets.folders import list_images
from reidhub.datasets.records import Record, RetrievalSet, compute_fingerprint
from reidhub.errors import DatasetError

FOLDERS = {"query": "query", "gallery": "bounding_box_test"}
JUNK = -1


@dataclass(frozen=True, slots=True)
class Naming:
    """How file names contain pid and camera.

    Args:
        pattern: regular expression with the groups ``pid`` (-1 for badly cropped images) and ``camera`` (from 1).
        example: a file name, for messages.
    """

    pattern: re.Pattern[str]
    example: str

    def read_record(self, path: Path) -> Record:
        """Make the record of one image from its file name.

        Raises:
            DatasetError: the name does not match the pattern.
        """
        match = self.pattern.match(path.name)
        camera = int(match["camera"]) if match else 0
        if match is None or camera < 1:
            raise DatasetError(f"{path}: expected a name like {self.example}, with cameras counted from 1")
        return Record(path, int(match["pid"]), camera - 1)

    def read_folder(self, folder: Path) -> tuple[Record, ...]:
        """Make the records of a folder's images, without junk (images with pid -1).

        Raises:
            DatasetError: the folder cannot be read, or a file's name does not match the pattern.
        """
        records = (self.read_record(path) for path in list_images(folder))
        return tuple(record for record in records if record.pid != JUNK)


@dataclass(frozen=True, slots=True)
class Layout:
    """A dataset in the layout of Market-1501: the folders ``query`` and ``bounding_box_test`` (the gallery).

    Args:
        name: key of the dataset registry.
        title: the dataset's own name.
        naming: how file names contain pid and camera.
        counts: published numbers of images, people and cameras of ``query`` and ``gallery``; None if not known.
    """

    name: str
    title: str
    naming: Naming
    counts: Mapping[str, Counts] | None

    def read(self, root: Path, *, allow_partial: bool) -> RetrievalSet:
        """Read query and gallery below ``root``, without junk (images with pid -1).

        Raises:
            DatasetError: a folder cannot be read, a file's name has no pid or camera, a split is empty, or the numbers
                of images, people or cameras are not the published ones and ``allow_partial`` is False.
        """
        splits = {split: self.naming.read_folder(root / folder) for split, folder in FOLDERS.items()}
        copy = Copy(self.name, self.title, root, self.counts)
        partial = copy.check(splits, allow_partial=allow_partial)
        fingerprint = compute_fingerprint(root, splits)
        query, gallery = splits["query"], splits["gallery"]
        return RetrievalSet(self.name, self.title, None, root, query, gallery, fingerprint, partial)
