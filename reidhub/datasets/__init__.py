"""Datasets on the user's disk become records; nothing is ever downloaded, and no image is opened here.

Adding a dataset is a file with a reader and a line in `DATASETS`; docs/datasets.md shows how.
"""

import difflib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol

from reidhub.datasets.counts import Counts, published_counts
from reidhub.datasets.records import ClassificationSet, LabelledImage, Record, RetrievalSet, fingerprint_of
from reidhub.errors import DatasetError, DatasetNotFoundError

__all__ = [
    "DATASETS",
    "ClassificationSet",
    "Counts",
    "LabelledImage",
    "Reader",
    "Record",
    "RetrievalSet",
    "expected_folder",
    "fingerprint_of",
    "published_counts",
    "read_dataset",
]

DATASETS: dict[str, str] = {
    "market1501": "reidhub.datasets.market1501:read",
    "dukemtmcreid": "reidhub.datasets.dukemtmcreid:read",
    "msmt17": "reidhub.datasets.msmt17:read",
    "cuhk03": "reidhub.datasets.cuhk03:read",
    "imagenet": "reidhub.datasets.imagenet:read",
}
"""Dataset -> ``module:callable``; the callable is a `Reader`, its module's ``FOLDER`` tells users what it looks for.

Other packages add their own line; `reidhub.demo` adds ``demo_world``."""


class Reader(Protocol):
    """Reads one dataset below the user's data root and holds it to its counts."""

    def __call__(self, data_root: Path, *, allow_partial: bool = False) -> RetrievalSet | ClassificationSet:
        """Read the dataset, as `read_dataset` describes."""


def read_dataset(name: str, data_root: Path, *, allow_partial: bool = False) -> RetrievalSet | ClassificationSet:
    """Read a registered dataset.

    Args:
        name: key of `DATASETS`.
        data_root: folder that holds the folder of `expected_folder`; the dataset's own folder will do as well.
        allow_partial: take a copy that differs from the published counts, and say so in ``partial``.

    Raises:
        DatasetNotFoundError: it is not below ``data_root``.
        DatasetNotSupportedError: it is known, but there is no reader.
        DatasetError: no dataset is called so, or the copy is not whole or not as it should be.
    """
    module, reader = _registered(name)
    if not data_root.is_dir():
        raise DatasetNotFoundError(f"{name}: the data root {data_root} is not a folder")
    read: Reader = getattr(module, reader)
    return read(data_root, allow_partial=allow_partial)


def expected_folder(name: str) -> str:
    """What has to lie below the data root, in words.

    Raises:
        DatasetError: no dataset is called so.
    """
    return str(getattr(_registered(name)[0], "FOLDER", name))


def _registered(name: str) -> tuple[ModuleType, str]:
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        raise DatasetError(
            f"no dataset is called {name!r}; known are {', '.join(DATASETS)}",
            hint=f"did you mean {near[0]}?" if near else None,
        )
    module, _, reader = DATASETS[name].partition(":")
    return import_module(module), reader
