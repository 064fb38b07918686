"""A folder with the embeddings of many images, as Parquet files that other programs read directly.

    OUT/embeddings-0000-000017.parquet  shard 17 of plan 0: path, box, id, embedding
    OUT/unreadable.parquet              the images that could not be read: path, reason
    OUT/_model.json                     the model that made the embeddings
    OUT/_plan                           all inputs, cut into shards
    OUT/_unreadable                     the unreadable images of each shard, if there are any

A shard's file has its name only when it is complete. So the names of the files say what is done, and a killed run
continues with the other shards.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import ENOENT
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

from reidhub.errors import UsageError
from reidhub.files.atomic import TEMPORARY, AtomicFile, explain_write_errors
from reidhub.files.lock import take_turn
from reidhub.files.strict_json import read_json, to_json
from reidhub.retrieval import tables
from reidhub.retrieval.embedding_model import EmbeddingModel
from reidhub.retrieval.plan import FOLDER, Plan, Shard
from reidhub.retrieval.tables import Part, Unreadable

_MODEL, _UNREADABLE, _TEMPORARY = "_model.json", "_unreadable", "_temporary"
_LIST = "unreadable.parquet"
_LIST_ROWS = 10_000  # unreadable images that are copied at a time
_ATTEMPTS = 10  # to write a file: two workers that write the same file remove each other's temporary file


@dataclass(frozen=True)
class EmbeddingsFolder:
    """A folder with the embeddings of many images.

    Args:
        path: the folder. It need not exist.
    """

    path: Path

    @property
    def plan(self) -> Plan:
        """The plans in the folder, as they are now."""
        return Plan(self.path)

    @property
    def model(self) -> EmbeddingModel | None:
        """The model that made the embeddings; None if the folder has none yet."""
        return read_json(EmbeddingModel, self.path / _MODEL)

    def claim(self, model: EmbeddingModel) -> None:
        """Write the model into ``_model.json``; if the folder has a model already, check that it is this one.

        Raises:
            UsageError: the folder has embeddings of another model.
            CacheError: the folder cannot be written.
        """
        self._remove_leftovers(self.path / _MODEL)
        if not (self.path / _MODEL).exists():
            with explain_write_errors(f"write into {self.path}"), suppress(FileExistsError):
                self._publish(self.path / _MODEL, lambda file: file.write(to_json(model)), exclusive=True)
        self.check_model(model)

    def check_model(self, model: EmbeddingModel) -> None:
        """Check that the embeddings of this folder can be compared with those of a model.

        Raises:
            UsageError: the embeddings were made by another model, or with other settings; or ``_model.json`` is missing
                or damaged.
        """
        own = self.model
        if own is None:
            raise UsageError(
                f"{self.path / _MODEL} is missing or damaged, so the model of the embeddings is unknown",
                hint="embed into a new folder; on a cluster, give a folder that all machines share",
            )
        if differences := own.list_differences(model):
            same_name = own.checkpoint == model.checkpoint
            how = "but made in another way" if same_name else f"not of {model.checkpoint}"
            message = f"{self.path} has embeddings of {own.checkpoint}, {how}"
            raise UsageError("\n  ".join([message, *differences]), hint="use one folder for each model")

    def shard_path(self, shard: Shard) -> Path:
        """Return the path of a shard's file."""
        return self.path / f"embeddings-{shard.name}.parquet"

    def is_complete(self, shard: Shard) -> bool:
        """Return True if a shard has been embedded; images that could not be read do not count."""
        return self.shard_path(shard).exists()

    def write(self, shard: Shard, part: Part, unreadable: Sequence[Unreadable], origin: dict[str, Any]) -> None:
        """Write the result of a shard; other workers may write the same shard at the same time.

        Args:
            shard: the shard.
            part: the embeddings of its readable images.
            unreadable: its other images.
            origin: what made the embeddings; written as JSON into the file's metadata, under the key ``reidhub``.

        Raises:
            CacheError: the folder cannot be written.
            DiskFullError: the disk has no room.
        """
        with explain_write_errors(f"write embeddings into {self.path}"):
            if unreadable:  # written first: a shard with a file and no list has no unreadable images
                self._publish(self._list_path(shard), partial(tables.write, tables.make_list(unreadable)))
            self._publish(self.shard_path(shard), partial(tables.write, tables.make_table(part, origin)))
            if not unreadable:
                self.forget_unreadable(shard)

    def write_list(self, shard: Shard, unreadable: Sequence[Unreadable]) -> None:
        """Replace the list of a shard's unreadable images, if it has changed.

        Raises:
            CacheError: the folder cannot be written.
        """
        if list(self.list_unreadable(shard)) != list(unreadable):
            with explain_write_errors(f"write into {self.path}"):
                self._publish(self._list_path(shard), partial(tables.write, tables.make_list(unreadable)))

    def read(self, shard: Shard) -> Part:
        """Read the embeddings of a shard.

        Raises:
            DatasetError: the file cannot be read.
        """
        return tables.read_part(self.shard_path(shard))

    def count_rows(self, shard: Shard) -> int:
        """Return the number of embeddings of a shard, without reading them.

        Raises:
            DatasetError: the file cannot be read.
        """
        return tables.count_rows(self.shard_path(shard))

    def read_parts(self) -> Iterator[Part]:
        """Read the embeddings shard by shard, in the order of the plan; a shard without a readable image is left out.

        Raises:
            DatasetError: a file cannot be read.
        """
        for path in sorted(self.path.glob("embeddings-*.parquet")):
            part = tables.read_part(path)
            if len(part):
                yield part

    def remove(self, shard: Shard) -> None:
        """Remove the result of a shard, so that it is embedded again."""
        self.shard_path(shard).unlink(missing_ok=True)
        self.forget_unreadable(shard)

    def list_unreadable(self, shard: Shard | None = None) -> Iterator[Unreadable]:
        """Yield the images that could not be read when their shard was embedded last.

        Args:
            shard: a shard; None for all shards.

        Raises:
            DatasetError: a list cannot be read.
        """
        if shard is not None:
            if (path := self._list_path(shard)).exists():
                yield from tables.read_list(path, shard)
            return
        for path in sorted((self.path / _UNREADABLE).glob("*.parquet")):
            plan, number = map(int, path.stem.split("-"))
            yield from tables.read_list(path, Shard(plan, number, 0))

    def forget_unreadable(self, shard: Shard) -> None:
        """Remove the list of a shard's unreadable images."""
        self._list_path(shard).unlink(missing_ok=True)

    def _list_path(self, shard: Shard) -> Path:
        return self.path / _UNREADABLE / f"{shard.name}.parquet"

    def write_unreadable(self) -> None:
        """Write ``unreadable.parquet`` from the lists of all shards; remove it if there are no unreadable images.

        Raises:
            CacheError: the folder cannot be written.
        """
        target = self.path / _LIST
        lock = self.path / FOLDER / "unreadable.lock"
        with explain_write_errors(f"write {target}"), take_turn(lock, f"writing {target}", lambda: True):
            self._remove_leftovers(target)
            if any(True for _ in self.list_unreadable()):
                self._publish(target, self._write_list)
            else:
                target.unlink(missing_ok=True)
            for folder in (_TEMPORARY, _UNREADABLE):
                with suppress(OSError):  # it is not there, or another worker uses it
                    (self.path / folder).rmdir()

    def _write_list(self, file: IO[bytes]) -> None:
        """Copy the lists of all shards, without the places in the shards."""
        import pyarrow.parquet as pq

        rows = self.list_unreadable()
        with pq.ParquetWriter(file, tables.public_schema()) as writer:
            while some := list(islice(rows, _LIST_ROWS)):
                writer.write_table(tables.make_list(some).select(tables.public_schema().names))

    def _publish(self, target: Path, write: Callable[[IO[bytes]], object], *, exclusive: bool = False) -> None:
        """Write a file completely or not at all.

        Two workers that embed the same shard remove each other's temporary files; one of them writes the target.
        """
        for _ in range(_ATTEMPTS):
            with suppress(FileNotFoundError):
                for folder in (self.path / _TEMPORARY, target.parent):
                    folder.mkdir(parents=True, exist_ok=True)
                with AtomicFile(self.path / _TEMPORARY, f"{TEMPORARY}{target.name}-") as new:
                    write(new.file)
                    new.publish(target, exclusive=exclusive)
                return
            if target.exists():
                return
        raise FileNotFoundError(ENOENT, "other processes keep removing its temporary files", str(self.path))

    def remove_leftovers(self, shard: Shard) -> None:
        """Remove the temporary files of killed workers for a shard."""
        self._remove_leftovers(self.shard_path(shard), self._list_path(shard))

    def _remove_leftovers(self, *targets: Path) -> None:
        for target in targets:
            for left in (self.path / _TEMPORARY).glob(f"{TEMPORARY}{target.name}-*"):
                left.unlink(missing_ok=True)
