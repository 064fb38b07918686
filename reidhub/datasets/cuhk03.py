"""CUHK03: some checkpoints were trained and tested on this dataset, but reidhub cannot read it."""

from pathlib import Path
from typing import NoReturn

from reidhub.errors import DatasetNotSupportedError

FOLDER = "nothing: CUHK03 cannot be scored here"


def read(data_root: Path, *, allow_partial: bool = False) -> NoReturn:
    """Raise an error, because there is no reader for CUHK03.

    Raises:
        DatasetNotSupportedError: always.
    """
    raise DatasetNotSupportedError(
        f"cuhk03: there is no reader for CUHK03 (below {data_root})",
        hint="its published scores are listed, but cannot be measured; docs/datasets.md shows how to add a reader",
    )
