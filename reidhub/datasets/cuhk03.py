"""CUHK03, which some checkpoints were trained and tested on: known by name, not read."""

from pathlib import Path
from typing import NoReturn

from reidhub.errors import DatasetNotSupportedError

FOLDER = "nothing: CUHK03 cannot be scored here"


def read(data_root: Path, *, allow_partial: bool = False) -> NoReturn:
    """Say that there is no reader.

    Raises:
        DatasetNotSupportedError: always.
    """
    raise DatasetNotSupportedError(
        f"cuhk03: there is no reader for CUHK03 (below {data_root})",
        hint="its scores are listed as published; a reader is one file and one line, see docs/datasets.md",
    )
