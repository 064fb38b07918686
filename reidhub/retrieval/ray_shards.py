"""Embeds the shards of a plan on a Ray cluster; each worker writes the files of its shards into the shared folder."""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reidhub.executors.ray_pool import open_pool
from reidhub.executors.ray_weights import SharedFile
from reidhub.inference import Embedder
from reidhub.retrieval.embed import Advance, ShardWorker, find_missing
from reidhub.retrieval.embedding_model import EmbeddingModel
from reidhub.retrieval.embeddings_folder import EmbeddingsFolder
from reidhub.retrieval.plan import Shard
from reidhub.zoo.checkpoint import Checkpoint

_RECENT = 1000  # more shards than all workers can have at the end of a run

MakeModel = Callable[[Checkpoint | None], tuple[Embedder, EmbeddingModel]]
"""A function that loads a model on a node. It gets a checkpoint whose file is in the node's cache; None for a model
whose file has the same path on each node."""


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A Ray cluster that embeds.

    Args:
        make_model: loads the model on a node; it is pickled.
        weights: the checkpoint and its file on this machine, for the nodes; None for an exported file.
        address: see `open_pool`.
        gpus: see `open_pool`.
    """

    make_model: MakeModel
    weights: tuple[Checkpoint, Path] | None
    address: str | None
    gpus: bool

    def embed(self, folder: EmbeddingsFolder, shards: Iterable[Shard], advance: Advance) -> int:
        """Embed the images of some shards that have no embedding yet.

        Args:
            folder: the embeddings folder; it has the same path on each node, as the images have.
            shards: the shards.
            advance: called with the number of images of each finished shard.

        Returns:
            Number of images that were embedded now.

        Raises:
            UsageError: Ray is missing, or there is no cluster.
            CacheError: a node cannot write the folder.
        """
        embedded = 0
        recent: deque[Shard] = deque(maxlen=_RECENT)
        with open_pool(partial(_Worker, self.make_model, folder), self.address, gpus=self.gpus) as pool:
            file = SharedFile.share(*self.weights) if self.weights else None
            tasks = (_Task(shard, missing, file) for shard in shards if (missing := len(find_missing(folder, shard))))
            with closing(pool.run(tasks)) as results:
                for task, left in results:
                    embedded += task.missing - left
                    advance(task.missing)
                    recent.append(task.shard)
        for shard in recent:  # the pool has stopped workers that were repeating some of these shards
            folder.remove_leftovers(shard)
        return embedded


@dataclass(frozen=True, slots=True)
class _Task:
    """A shard with the number of images that have no embedding yet, and the weights."""

    shard: Shard
    missing: int
    file: SharedFile | None


class _Worker:
    """Embeds shards in a process of Ray."""

    def __init__(self, make_model: MakeModel, folder: EmbeddingsFolder) -> None:
        self._make_model = make_model
        self._folder = folder
        self._worker: ShardWorker | None = None

    def __call__(self, task: _Task) -> int:
        """Embed a shard, and return the number of images that have no embedding because they cannot be read."""
        if self._worker is None:
            if task.file:
                task.file.fetch()
            embedder, model = self._make_model(task.file.checkpoint if task.file else None)
            self._folder.check_model(model)
            self._worker = ShardWorker(embedder, model, self._folder, self._folder.plan)
        self._worker.embed(task.shard)
        return len(find_missing(self._folder, task.shard))
