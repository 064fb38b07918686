"""Embeds the shards of a plan into an embeddings folder."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from reidhub._version import __version__
from reidhub.inference import Embedder
from reidhub.retrieval.embedding_model import EmbeddingModel
from reidhub.retrieval.embeddings_folder import EmbeddingsFolder
from reidhub.retrieval.inputs.images import open_images
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.plan import Plan, Shard
from reidhub.retrieval.tables import Part, Unreadable

T = TypeVar("T")
Advance = Callable[[int], object]
"""A function that is called with a number of images when the embedder has taken them."""


@dataclass(frozen=True, slots=True)
class ShardWorker:
    """Embeds one shard after the other.

    Args:
        embedder: the model.
        model: what the files say about the model.
        folder: the embeddings folder.
        plan: its plan.
    """

    embedder: Embedder
    model: EmbeddingModel
    folder: EmbeddingsFolder
    plan: Plan

    def embed(self, shard: Shard, advance: Advance = int) -> int:
        """Embed the images of a shard that have no embedding yet, and write the file of the shard.

        Args:
            shard: the shard.
            advance: called with 1 for each of these images when the embedder has taken it.

        Returns:
            Number of images that were embedded now.

        Raises:
            CacheError: the folder cannot be written.
            DatasetError: the plan or the shard's file cannot be read.
        """
        missing = find_missing(self.folder, shard)
        if not missing:
            return 0
        self.folder.remove_leftovers(shard)
        inputs = self.plan.read(shard)
        images = _count(open_images(inputs[place] for place in missing), advance)
        embeddings, errors = self.embedder.embed_readable(images)
        failed = {missing[index]: error.message for index, error in errors.items()}
        if len(failed) == len(missing) < shard.size:
            self.folder.write_list(shard, _list_unreadable(inputs, shard, failed))  # the reasons may be others now
            return 0
        rows = np.empty((shard.size, self.embedder.dimensions), np.float32)
        rows[[place for place in missing if place not in failed]] = embeddings.numpy()
        if len(missing) < shard.size:
            rows[sorted(set(range(shard.size)) - set(missing))] = self.folder.read(shard).embeddings
        unreadable = _list_unreadable(inputs, shard, failed)
        self.folder.write(shard, _make_part(inputs, rows, failed), unreadable, self._describe())
        return len(missing) - len(failed)

    def _describe(self) -> dict[str, object]:
        """Return what the metadata of each file says: the model, the engine, the device and the version of reidhub."""
        own = {"engine": self.embedder.engine, "device": self.embedder.device.type, "reidhub": __version__}
        return asdict(self.model) | own


def find_missing(folder: EmbeddingsFolder, shard: Shard) -> list[int]:
    """Return the indices in a shard of the images that have no embedding yet, in order."""
    everything = list(range(shard.size))
    if not folder.is_complete(shard):
        return everything
    missing = [one.place for one in folder.list_unreadable(shard)]
    if not missing:
        return []
    rows = folder.count_rows(shard)
    if rows == shard.size:  # a killed run has embedded them, but not removed their list
        folder.forget_unreadable(shard)
        return []
    return missing if rows + len(missing) == shard.size else everything


def _list_unreadable(inputs: list[Input], shard: Shard, failed: dict[int, str]) -> list[Unreadable]:
    return [Unreadable(inputs[place].path, reason, shard, place) for place, reason in failed.items()]


def _make_part(inputs: list[Input], rows: NDArray[np.float32], failed: dict[int, str]) -> Part:
    places = [place for place in range(len(inputs)) if place not in failed]
    kept = [inputs[place] for place in places]
    return Part([one.path for one in kept], [one.box for one in kept], [one.id for one in kept], rows[places])


def _count(images: Iterable[T], advance: Advance) -> Iterator[T]:
    for image in images:
        yield image
        advance(1)
