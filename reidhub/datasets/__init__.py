"""Functions that read the datasets on the user's disk; they download nothing and open no image.

Such a function is a `Reader`. To add a dataset, write a module with a `Reader` and add an entry to `DATASETS`;
see the docs, page Extend reidhub.
"""

import difflib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol

from reidhub.datasets.counts import Counts, find_published_counts
from reidhub.datasets.records import (
    ClassificationSet,
    LabelledImage,
    Record,
    RetrievalSet,
    compute_fingerprint,
    name_image,
)
from reidhub.errors import DatasetError, DatasetNotFoundError

__all__ = [
    "DATASETS",
    "WITHOUT_READER",
    "ClassificationSet",
    "Counts",
    "LabelledImage",
    "Reader",
    "Record",
    "RetrievalSet",
    "compute_fingerprint",
    "describe_folder",
    "find_published_counts",
    "name_image",
    "read_dataset",
]

DATASETS: dict[str, str] = {
    "market1501": "reidhub.datasets.market1501:read",
    "dukemtmcreid": "reidhub.datasets.dukemtmcreid:read",
    "msmt17": "reidhub.datasets.msmt17:read",
    "cuhk03": "reidhub.datasets.cuhk03:read",
    "imagenet": "reidhub.datasets.imagenet:read",
}
"""Name of a dataset -> ``module:callable``. The callable is a `Reader`. The constant ``FOLDER`` in its module tells
users in words which folder the reader looks for.

Other packages may add entries; `reidhub.demo` adds ``demo_world``."""

WITHOUT_READER: dict[str, str] = {
    "veri776": "VeRi-776",
    "vehicleid_small": "the small test set of VehicleID",
    "vehicleid_medium": "the medium test set of VehicleID",
    "vehicleid_large": "the large test set of VehicleID",
    "veriwild_small": "the small test set of VERI-Wild",
    "veriwild_medium": "the medium test set of VERI-Wild",
    "veriwild_large": "the large test set of VERI-Wild",
}
"""Name of a dataset of the zoo that has no `Reader` -> its title. Scores on it are listed, but cannot be measured."""


class Reader(Protocol):
    """A function that reads one dataset below the user's data root and checks whether the copy is complete."""

    def __call__(self, data_root: Path, *, allow_partial: bool = False) -> RetrievalSet | ClassificationSet:
        """Read the dataset, as `read_dataset` describes."""


def read_dataset(name: str, data_root: Path, *, allow_partial: bool = False) -> RetrievalSet | ClassificationSet:
    """Read a registered dataset.

    Args:
        name: key of `DATASETS`.
        data_root: the folder with the user's datasets, or the dataset's own folder. See `describe_folder` for
            the name of the dataset's own folder.
        allow_partial: accept a copy whose numbers of images, people or cameras differ from the published numbers; the
            field ``partial`` of the result describes the difference.

    Raises:
        DatasetNotFoundError: the dataset is not below ``data_root``.
        DatasetError: the name is unknown, the dataset has no reader, or the copy is incomplete or damaged.
    """
    module, reader = _find_reader(name)
    read: Reader = getattr(module, reader)
    try:
        if not data_root.is_dir():
            raise DatasetNotFoundError(f"{name}: the data root {data_root} is not a folder")
        return read(data_root, allow_partial=allow_partial)
    except OSError as error:  # a closed folder, a file that disappears, a name that is too long
        raise DatasetError(f"{name}: {error.filename} cannot be read: {error.strerror or error}") from error


def describe_folder(name: str) -> str:
    """Return a text that tells users which folder below the data root is searched for a dataset.

    Raises:
        DatasetError: the name is unknown, or the dataset has no reader.
    """
    return str(getattr(_find_reader(name)[0], "FOLDER", name))


def _find_reader(name: str) -> tuple[ModuleType, str]:
    """Import the module that reads a dataset; return the module and the name of its function that reads the dataset."""
    if name in WITHOUT_READER and name not in DATASETS:
        raise DatasetError(
            f"{name}: reidhub has no reader for {WITHOUT_READER[name]}",
            hint="to write a reader, see the docs, page Extend reidhub",
        )
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        raise DatasetError(
            f"no dataset is called {name!r}; known are {', '.join(DATASETS)}",
            hint=f"did you mean {near[0]}?" if near else None,
        )
    module, _, reader = DATASETS[name].partition(":")
    return import_module(module), reader
