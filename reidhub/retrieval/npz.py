"""Writes the embeddings of a folder into one ``.npz`` file, for small sets."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from reidhub.errors import UsageError
from reidhub.files.atomic import explain_write_errors, write_atomically
from reidhub.retrieval.embeddings_folder import EmbeddingsFolder

LARGEST = 10**9
"""Largest size of the embeddings in a ``.npz`` file, in bytes: the whole file must fit into memory."""


def check_size(images: int, dimensions: int) -> None:
    """Check that the embeddings are small enough for a ``.npz`` file.

    Raises:
        UsageError: they take more than 1 GB.
    """
    size = images * dimensions * 4
    if size > LARGEST:
        raise UsageError(
            f"{images:,} embeddings of {dimensions} values take {size / 1e9:.1f} GB; a .npz file has at most 1 GB",
            hint="give a folder: -o FOLDER writes Parquet files",
        )


def write_npz(folder: EmbeddingsFolder, path: Path) -> None:
    """Write the embeddings of a folder into one file.

    The arrays are ``path``, ``box`` (NaN for whole images), ``id`` (empty without one), ``embedding`` and ``model``
    (JSON); and ``unreadable`` and ``reason`` for the images that could not be read.

    Raises:
        CacheError: the file cannot be written.
    """
    parts = list(folder.read_parts())
    model = folder.model
    boxes = [box or (np.nan,) * 4 for part in parts for box in part.boxes]
    ids = [label or "" for part in parts for label in part.ids]
    dimensions = model.dimensions if model else 0
    arrays = {
        "path": np.array([path for part in parts for path in part.paths], dtype=str),
        "box": np.array(boxes, np.float64).reshape(-1, 4),
        "id": np.array(ids, dtype=str),
        "embedding": np.concatenate([np.empty((0, dimensions), np.float32), *(part.embeddings for part in parts)]),
        "unreadable": np.array([one.path for one in folder.list_unreadable()], dtype=str),
        "reason": np.array([one.reason for one in folder.list_unreadable()], dtype=str),
        "model": np.array(json.dumps(asdict(model)) if model else ""),
    }
    with explain_write_errors(f"write {path}"), write_atomically(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
