"""Parquet tables: the embeddings of a shard, and the images of a shard that could not be read."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reidhub.errors import DatasetError
from reidhub.inference.boxes import Box
from reidhub.retrieval.plan import Shard

if TYPE_CHECKING:
    import pyarrow as pa

_HINT = "remove it; the next run embeds it again"
METADATA_KEY = b"reidhub"
"""Key in the metadata of a table of embeddings. Its value is JSON: the model, the engine, the device, the version."""


@dataclass(frozen=True, slots=True)
class Part:
    """The embeddings of n images.

    Args:
        paths: the names of the images.
        boxes: the box of each image; None for a whole image.
        ids: the label of each image; None without a label.
        embeddings: float32 (n, D).
    """

    paths: list[str]
    boxes: list[Box | None]
    ids: list[str | None]
    embeddings: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image that could not be embedded.

    Args:
        path: its name, as in `Input.path`.
        reason: why it could not be read.
        shard: the shard that has it.
        place: its index in the shard.
    """

    path: str
    reason: str
    shard: Shard
    place: int


def make_table(part: Part, origin: dict[str, Any]) -> "pa.Table":
    """Return embeddings as a table with the columns path, box, id and embedding.

    Args:
        part: the embeddings.
        origin: what made them; written as JSON into the table's metadata, under `METADATA_KEY`.
    """
    import pyarrow as pa

    values = pa.array(np.ascontiguousarray(part.embeddings, dtype=np.float32).reshape(-1))
    columns = {
        "path": pa.array(map(make_utf8, part.paths), type=pa.string()),
        "box": pa.array(part.boxes, type=pa.list_(pa.float64())),  # Arrow before 26 cannot read None of a fixed size
        "id": pa.array(part.ids, type=pa.string()),
        "embedding": pa.FixedSizeListArray.from_arrays(values, part.embeddings.shape[1]),
    }
    return pa.table(columns).replace_schema_metadata({METADATA_KEY: json.dumps(origin).encode()})


def read_part(path: Path) -> Part:
    """Read a table of embeddings.

    Raises:
        DatasetError: the file cannot be read, or is no table of embeddings.
    """
    table = _read(path)
    try:
        column = table.column("embedding").combine_chunks()
        values = column.flatten().to_numpy().astype(np.float32, copy=False)
        embeddings = values.reshape(len(table), column.type.list_size)
        boxes = [None if box is None else tuple(box) for box in table.column("box").to_pylist()]
        return Part(table.column("path").to_pylist(), boxes, table.column("id").to_pylist(), embeddings)
    except (KeyError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path} is no table of embeddings: {error}") from error


def count_rows(path: Path) -> int:
    """Return the number of rows of a table, from its metadata alone.

    Raises:
        DatasetError: the file cannot be read.
    """
    import pyarrow.parquet as pq

    with _open(path) as file:
        return int(pq.read_metadata(file).num_rows)


def public_schema() -> "pa.Schema":
    """Return the columns of the list of unreadable images that users read: path and reason."""
    import pyarrow as pa

    return pa.schema({"path": pa.string(), "reason": pa.string()})


def make_list(unreadable: Sequence[Unreadable]) -> "pa.Table":
    """Return unreadable images of one shard as a table with the columns path, reason and place (index in the shard)."""
    import pyarrow as pa

    columns = {
        "path": pa.array([make_utf8(one.path) for one in unreadable], type=pa.string()),
        "reason": pa.array([make_utf8(one.reason) for one in unreadable], type=pa.string()),
        "place": pa.array([one.place for one in unreadable], type=pa.int64()),
    }
    return pa.table(columns)


def read_list(path: Path, shard: Shard) -> Iterator[Unreadable]:
    """Yield the unreadable images of a shard.

    Raises:
        DatasetError: the file cannot be read.
    """
    hint = f"remove it and embeddings-{path.name}; the next run embeds this shard again"
    for row in _read(path, hint).to_pylist():
        yield Unreadable(row["path"], row["reason"], shard, row["place"])


def write(table: "pa.Table", file: IO[bytes]) -> None:
    """Write a table as Parquet. Embeddings stay uncompressed: compression would not make them smaller."""
    import pyarrow.parquet as pq

    pq.write_table(table, file, compression={"path": "zstd", "reason": "zstd"}, use_dictionary=["id"])


def make_utf8(text: str) -> str:
    r"""Return a text that is valid UTF-8: bytes of file names that are not UTF-8 become ``\xff``."""
    return os.fsencode(text).decode(errors="backslashreplace")


def _read(path: Path, hint: str = _HINT) -> "pa.Table":
    import pyarrow.parquet as pq

    with _open(path, hint) as file:
        return pq.read_table(file)


@contextmanager
def _open(path: Path, hint: str = _HINT) -> "Iterator[pa.NativeFile]":
    """Open a Parquet file as a file of Arrow, and explain the errors of reading it.

    Arrow's threads would need Python's lock to read a file of Python, even while Python exits.
    """
    import pyarrow as pa

    try:
        with pa.OSFile(os.fsencode(path)) as file:
            yield file
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}", hint=hint) from error
