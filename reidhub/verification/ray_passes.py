"""Runs the passes of a verification on a Ray cluster; only the driver, the process of the user, writes the journal.

A shard is a range of a dataset's images, together with the models that need it. It has whole batches, and the driver
appends them in order. So the journal is the same as on one machine, and an interrupted run resumes on either.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from reidhub.errors import DatasetError, UsageError
from reidhub.executors.ray_pool import RayPool, open_pool
from reidhub.executors.ray_weights import SharedFile
from reidhub.inference.preprocess import PixelSpec
from reidhub.verification.dataset_pass import DatasetPass, PassMember, RunPass
from reidhub.verification.movable_embedder import ModelSource, MovableEmbedder
from reidhub.verification.receipt import describe_environment
from reidhub.verification.settings import Settings, read_device_name

_SHARD = 1000  # most images in a shard; fewer, so that it has whole batches; more only if one batch is larger


@contextmanager
def open_passes(settings: Settings, address: str | None) -> Iterator[RunPass]:
    """Start workers on a cluster, until the ``with`` block ends.

    Args:
        settings: how to measure; the images must have the same paths on each node.
        address: see `open_pool`.

    Yields:
        A function that does what `DatasetPass.run` does.

    Raises:
        UsageError: see `open_pool`.
    """
    with open_pool(partial(_Worker, settings), address, gpus=settings.device.type == "cuda") as pool:
        yield partial(_run, pool)


@dataclass(frozen=True, slots=True)
class _Model:
    """A model that embeds a shard.

    Args:
        source: what it is made from; the path is that of the driver.
        file: the checkpoint file, for the node.
        done: number of images, from the start of the shard on, whose rows are in the journal already.
    """

    source: ModelSource
    file: SharedFile
    done: int

    @property
    def key(self) -> tuple[str, str, bool]:
        """A value that tells which loaded model to use: equal if checkpoint, file and kind of rows are equal."""
        return self.file.checkpoint.name, str(self.file.checkpoint.artifact.digest), self.source.classify


@dataclass(frozen=True, slots=True)
class _Shard:
    """A range of images, and the models that need it.

    Args:
        first: index of the first image in the dataset.
        paths: the images.
        pixels: their size.
        models: place of a model among the members of the pass -> the model.
    """

    first: int
    paths: list[Path]
    pixels: PixelSpec
    models: dict[int, _Model]


@dataclass(frozen=True, slots=True)
class _Rows:
    """The result of a shard.

    Args:
        batches: place of a model -> its rows, batch by batch.
        computers: place of a model -> what has computed its rows.
        host: the machine.
        error: the first image that cannot be decoded; the batches end before it.
    """

    batches: dict[int, list[Tensor]]
    computers: dict[int, str]
    host: str
    error: DatasetError | None


@dataclass
class _Memory:
    """Rows of a shard in the memory of a worker."""

    rows: int
    total: int
    batches: list[Tensor] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.rows == self.total

    def append(self, rows: Tensor) -> None:
        self.rows += len(rows)
        self.batches.append(rows)


class _Worker:
    """Computes shards in a process of Ray; the models of the last shard stay loaded."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[tuple[str, str, bool], MovableEmbedder] = {}

    def __call__(self, shard: _Shard) -> _Rows:
        """Compute the rows of a shard."""
        wanted = {model.key for model in shard.models.values()}
        self._loaded = {key: model for key, model in self._loaded.items() if key in wanted}
        logs = {place: _Memory(model.done, len(shard.paths)) for place, model in shard.models.items()}
        members = {place: PassMember(self._load(model), logs[place]) for place, model in shard.models.items()}
        error = None
        try:
            DatasetPass(shard.paths, shard.pixels, list(members.values()), stay_ready=True).run(self._settings, int)
        except DatasetError as failed:  # the driver raises it, unless an earlier shard has one too
            error = failed
        computers = {place: _describe_computer(one.embedder, self._settings) for place, one in members.items()}
        return _Rows({place: log.batches for place, log in logs.items()}, computers, socket.gethostname(), error)

    def _load(self, model: _Model) -> MovableEmbedder:
        if model.key not in self._loaded:
            here = replace(model.source, checkpoint=model.file.checkpoint, path=model.file.fetch())
            self._loaded[model.key] = here.load(self._settings)
        return self._loaded[model.key]


def _run(
    pool: RayPool[_Shard, _Rows], embedding: DatasetPass, settings: Settings, advance: Callable[[int], object]
) -> None:
    """Embed the images that some members have not embedded yet; see `DatasetPass.run`."""
    computers = {place: _describe_computer(one.embedder, settings) for place, one in enumerate(embedding.members)}
    waiting: dict[int, tuple[_Shard, _Rows]] = {}
    reached = embedding.start
    with closing(pool.run(_cut(embedding, settings))) as results:
        for shard, rows in results:
            waiting[shard.first] = shard, rows
            while reached in waiting:
                shard, rows = waiting.pop(reached)
                _check_computers(rows, computers)
                _append(embedding, rows)
                if rows.error:
                    raise rows.error
                advance(len(shard.paths))
                reached += len(shard.paths)


def _cut(embedding: DatasetPass, settings: Settings) -> Iterator[_Shard]:
    """Cut the images into shards of whole batches."""
    members = {place: one for place, one in enumerate(embedding.members) if not one.log.complete}
    have = {place: one.log.rows for place, one in members.items()}  # as it is now: the logs grow during the run
    files: dict[int, tuple[ModelSource, SharedFile]] = {}
    for place, one in members.items():
        if one.source is None:
            raise ValueError("a model without a source cannot be sent to a cluster")
        files[place] = one.source, SharedFile.share(one.source.checkpoint, one.source.path)
    size = max(1, _SHARD // settings.batch_size) * settings.batch_size
    for first in range(embedding.start, len(embedding.paths), size):
        paths = list(embedding.paths[first : first + size])
        models = {
            place: _Model(*file, max(0, have[place] - first))
            for place, file in files.items()
            if have[place] < first + len(paths)
        }
        yield _Shard(first, paths, embedding.pixels, models)


def _append(embedding: DatasetPass, rows: _Rows) -> None:
    """Append the batches of a shard to the journal."""
    for place, batches in rows.batches.items():
        for batch in batches:
            embedding.members[place].log.append(batch)


def _describe_computer(embedder: MovableEmbedder, settings: Settings) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in describe_environment(()).versions.items())
    return f"{read_device_name(settings.device)}, {embedder.describe_engine(settings.device)}, {versions}"


def _check_computers(rows: _Rows, expected: Mapping[int, str]) -> None:
    """Check that a shard was computed as it would be here: a receipt names one device and one set of versions.

    Raises:
        UsageError: it was computed on another device or with other versions.
    """
    for place, computer in rows.computers.items():
        if computer != expected[place]:
            raise UsageError(
                f"the node {rows.host} computes with another device or other versions than this machine:\n"
                f"  there: {computer}\n  here:  {expected[place]}",
                hint="a receipt names one device: use equal nodes with equal versions, and start the run on one",
            )
