"""The plan of an embeddings folder: every input, cut into shards of 1,000.

``OUT/_plan`` has one Arrow file per plan, ``0000.arrow``, ``0001.arrow`` and so on. Each later plan has the inputs that
no earlier plan has. A record batch of a file is a shard, so a worker reads only its own shards. One process, several
processes and Ray read the same plan. It is only on the disk, so memory does not grow with the number of inputs.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidhub.errors import DatasetError
from reidhub.retrieval.inputs.input import Input

if TYPE_CHECKING:
    import pyarrow as pa

SHARD_SIZE = 1000
"""Number of inputs in a shard; the last shard of a plan may have fewer."""

FOLDER = "_plan"
"""Folder of the plans, below the embeddings folder. Readers of Parquet folders ignore names that start with ``_``."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a plan that is embedded as one piece.

    Args:
        plan: number of the plan, from 0.
        number: number of the shard in the plan, from 0.
        size: number of its inputs.
    """

    plan: int
    number: int
    size: int

    @property
    def name(self) -> str:
        """Text for file names, in the order of the plans: ``0000-000017``."""
        return f"{self.plan:04d}-{self.number:06d}"


class PlanFile:
    """One plan on the disk.

    Args:
        path: an Arrow file.

    Raises:
        DatasetError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.path = path
        with self._explain_damage():
            self._reader = pa.ipc.open_file(pa.OSFile(os.fsencode(path)))
            self.shards: int = self._reader.num_record_batches
        self._last: int = self.read_batch(self.shards - 1).num_rows

    def __len__(self) -> int:
        return (self.shards - 1) * SHARD_SIZE + self._last

    def size_of(self, shard: int) -> int:
        """Return the number of inputs of a shard."""
        return self._last if shard == self.shards - 1 else SHARD_SIZE

    def read_batch(self, shard: int) -> "pa.RecordBatch":
        """Read one shard as an Arrow record batch.

        Raises:
            DatasetError: the file is damaged.
        """
        with self._explain_damage():
            return self._reader.get_batch(shard)

    @contextmanager
    def _explain_damage(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, OSError) as error:  # Arrow's own errors for wrong bytes are of both kinds
            raise DatasetError(f"{self.path} is damaged: {error}", hint="embed into a new folder") from error


@dataclass(frozen=True)
class Plan:
    """All plans of an embeddings folder.

    Args:
        folder: the embeddings folder.
    """

    folder: Path

    @cached_property
    def files(self) -> list[PlanFile]:
        """The plans, in the order of their numbers.

        Raises:
            DatasetError: a file is damaged.
        """
        paths = (plan_path(self.folder, number) for number in count())
        files = []
        while (path := next(paths)).exists():
            files.append(PlanFile(path))
        return files

    def __len__(self) -> int:
        return sum(len(file) for file in self.files)

    def shards(self) -> Iterator[Shard]:
        """Yield the shards of all plans, in order."""
        for plan, file in enumerate(self.files):
            for number in range(file.shards):
                yield Shard(plan, number, file.size_of(number))

    def read(self, shard: Shard) -> list[Input]:
        """Read the inputs of a shard.

        Raises:
            DatasetError: a file is damaged.
        """
        return decode_batch(self.files[shard.plan].read_batch(shard.number))

    def read_all(self, number: int) -> Iterator[Input]:
        """Yield all inputs of one plan.

        Raises:
            DatasetError: a file is damaged.
        """
        file = self.files[number]
        for shard in range(file.shards):
            yield from decode_batch(file.read_batch(shard))


def plan_path(folder: Path, number: int) -> Path:
    """Return the path of a plan in an embeddings folder."""
    return folder / FOLDER / f"{number:04d}.arrow"


def make_schema() -> "pa.Schema":
    """Return the columns of a plan: the fields of `Input`. Paths are bytes: file names need not be UTF-8."""
    import pyarrow as pa

    return pa.schema(
        {
            "path": pa.binary(),
            "size": pa.int64(),
            "modified_ns": pa.int64(),
            "box": pa.list_(pa.float64(), 4),
            "id": pa.string(),
            "container": pa.binary(),
            "position": pa.int64(),
        }
    )


def encode_batch(inputs: Iterable[Input]) -> "pa.RecordBatch":
    """Return the inputs of a shard as an Arrow record batch."""
    import pyarrow as pa

    rows = [(os.fsencode(i.path), i.size, i.modified_ns, i.box, i.id, _encode(i.container), i.position) for i in inputs]
    schema = make_schema()
    columns = [pa.array(values, type=field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.record_batch(columns, schema=schema)


def decode_batch(batch: "pa.RecordBatch") -> list[Input]:
    """Return the inputs of a shard from its Arrow record batch."""
    columns: dict[str, list[Any]] = batch.to_pydict()
    rows = zip(*(columns[name] for name in make_schema().names), strict=True)
    return [
        Input(os.fsdecode(path), size, modified, box and tuple(box), label, container and os.fsdecode(container), place)
        for path, size, modified, box, label, container, place in rows
    ]


def _encode(path: str | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def cut_into_shards(inputs: Iterator[Input]) -> Iterator[list[Input]]:
    """Yield the inputs in lists of `SHARD_SIZE`; the last list may be shorter, and is never empty."""
    for first in inputs:
        yield list(chain([first], islice(inputs, SHARD_SIZE - 1)))
