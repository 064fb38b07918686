"""Lists the images that a user wants to embed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from reidhub.datasets.folders import list_images_below
from reidhub.errors import DatasetError
from reidhub.retrieval.inputs.input import Input


def list_inputs(inputs: Sequence[str], boxes: Path | None = None) -> Iterator[Input]:
    """Yield the images of folders and the image files that were given.

    Raises:
        DatasetError: there is no such folder or file, or boxes were given.
    """
    if boxes:
        raise DatasetError(f"{boxes}: boxes cannot be read yet")
    for given in inputs:
        path = Path(given)
        if not path.exists():
            raise DatasetError(f"there is no folder or file {given}")
        for image in list_images_below(path) if path.is_dir() else [path]:
            found = image.stat()
            yield Input(str(image), found.st_size, found.st_mtime_ns)
