"""One pass over the images of a dataset: each image is decoded once, and every model embeds it.

If there is memory for all models, they stay ready during the whole pass. If not, the models are split into groups, and
up to 64 decoded batches are kept in memory. Each group in turn is moved to the GPU, or compiled for the CPU, and embeds
these batches. Then the next batches are decoded. So each image is decoded only once in this case too.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from reidhub.inference import Embedder, make_engine, make_plain_engine, upload_ahead
from reidhub.inference.engine import Engine
from reidhub.inference.images import load_batches
from reidhub.inference.preprocess import PixelSpec
from reidhub.models.base import ReidModel
from reidhub.torch_settings import Arithmetic, Precision
from reidhub.verification.settings import Settings
from reidhub.weights import read_weights
from reidhub.weights.load import build_with_weights
from reidhub.zoo.checkpoint import Checkpoint, OwnCheckpoint

BEST_CLASSES = 5
"""Number of classes that are kept for each image; top-5 accuracy needs five."""


def read_model(checkpoint: Checkpoint, file: Path) -> ReidModel:
    """Load the model of a checkpoint, and return it in eval mode, on the CPU.

    Raises:
        WeightsError: the weights in the file do not fit the architecture.
    """
    return build_with_weights(checkpoint, read_weights(file, layout=checkpoint.layout)).eval()


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What a model is made from. Another machine needs another ``path``.

    Args:
        checkpoint: the entry of the manifest.
        path: the checkpoint file.
        pixels: the image size and the normalisation that the model needs.
        classify: see `MovableEmbedder`.
    """

    checkpoint: Checkpoint
    path: Path
    pixels: PixelSpec
    classify: bool

    def load(self, settings: Settings) -> "MovableEmbedder":
        """Load the model.

        Raises:
            WeightsError: the weights in the file do not fit the architecture.
        """
        return MovableEmbedder(
            read_model(self.checkpoint, self.path),
            self.pixels,
            classify=self.classify,
            batch=settings.batch_size,
            precision=settings.precision,
            cached=None if isinstance(self.checkpoint, OwnCheckpoint) else self.path,
        )


class MovableEmbedder:
    """An embedder that can be moved to a GPU and back; on a CPU it runs in OpenVINO if the precision is ``fp32``.

    On a GPU the model is not compiled, because compiling it takes longer than embedding one of the datasets.

    Args:
        model: in eval mode, on the CPU.
        pixels: the image size and the normalisation that the model needs.
        classify: return the `BEST_CLASSES` best classes of each image, best first, instead of its embedding.
        batch: number of images in a batch.
        precision: precision in which the model computes.
        cached: the checkpoint file in the cache. The model converted for OpenVINO is kept in the same folder. None to
            keep nothing.

    Attributes:
        dimensions: number of values in a row: D of an embedding, or 5 classes.
        embedding_dim: D, the length of an embedding.
        size: bytes of the model's tensors.
    """

    def __init__(
        self,
        model: ReidModel,
        pixels: PixelSpec,
        *,
        classify: bool,
        batch: int = 32,
        precision: Precision = "fp32",
        cached: Path | None = None,
    ) -> None:
        self.embedding_dim = model.embedding_dim
        self.dimensions = BEST_CLASSES if classify else model.embedding_dim
        self.size = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
        self._model = model
        self._pixels = pixels
        self._classify = classify
        self._batch = batch
        self._precision = precision
        self._cached = cached
        self._arithmetic = Arithmetic.of_precision(precision)
        self._device = torch.device("cpu")
        self._embedder: Embedder | None = None

    def move(self, device: torch.device) -> None:
        """Move the model to a device."""
        if device != self._device:
            self._model.to(device)
            self._device, self._embedder = device, None

    def rest(self) -> None:
        """Free the memory of the GPU and of the compiled model, until the next `move` or call."""
        self.move(torch.device("cpu"))
        self._embedder = None

    def estimate_memory(self, device: torch.device) -> int:
        """Estimate the bytes that the model needs to be ready on a device, without the activations on a GPU."""
        if device.type == "cuda":
            return self.size
        return 150_000_000 + 5 * self.size  # measured: 150 MB for an OSNet, 600 MB for resnet50

    def make_embedder(self) -> Embedder:
        """Return the embedder for the model's device; the first call after a `move` makes a new embedder."""
        if self._embedder is None:
            self._embedder = Embedder(self._make_engine(), self._pixels)
        return self._embedder

    def describe_engine(self, device: torch.device) -> str:
        """Return name and version of the runtime that runs the model on a device."""
        return self.make_embedder().engine if device.type == "cpu" else f"torch {torch.__version__}"

    def _make_engine(self) -> Engine:
        if self._device.type == "cpu" and self._precision == "fp32":
            return make_engine(self._model, self._pixels, batch=self._batch, cached=self._cached)
        return make_plain_engine(self._model, self._pixels, self._arithmetic, batch=self._batch)

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Compute the embeddings or the best classes of some images.

        Args:
            pixels: uint8 (N, 3, H, W), on the model's device.

        Returns:
            float32 on the same device: embeddings (N, D), or the indices of the best classes (N, 5).
        """
        embeddings = self.make_embedder().embed_on_device(pixels)
        if not self._classify:
            return embeddings
        with self._arithmetic.on(embeddings.device):
            return best_classes(self._model.classify(embeddings)).float()


def best_classes(logits: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Find the five classes with the highest logits for each image.

    Args:
        logits: (N, C). A model with two classifiers (hacnn) gives a tuple of two such tensors; they are added.

    Returns:
        int64 (N, 5): the indices of the classes, highest logit first. Of equal logits, the lower index comes first.
    """
    total = logits if isinstance(logits, Tensor) else torch.stack(logits).sum(0)
    return total.float().argsort(dim=1, descending=True, stable=True)[:, :BEST_CLASSES]


_CHUNK = 64  # batches kept in memory if there are several groups: 1.6 GB for batches of 256 images of 256x128
_MEMORY_SHARE = 0.5  # share of a GPU's free memory for weights; the rest is for activations
_CPU_MEMORY = 2_000_000_000  # bytes for the compiled models of a group

Batch = tuple[Tensor, int]
"""uint8 pixels (N, 3, H, W), and the index of the first of these images in the dataset."""


class Rows(Protocol):
    """Where the rows of a model go; a `RowLog` on the disk, or memory."""

    rows: int

    @property
    def complete(self) -> bool:
        """True if no row is missing."""

    def append(self, rows: Tensor) -> None:
        """Add the rows of the next batch, float32 (n, D)."""


@dataclass(frozen=True, slots=True)
class PassMember:
    """A model that takes part in a pass.

    Args:
        embedder: the model.
        log: the place for its embeddings or best classes, one row per image.
        source: what the model is made from; None if it can only be used here.
    """

    embedder: MovableEmbedder
    log: Rows
    source: ModelSource | None = None


@dataclass(frozen=True, slots=True)
class DatasetPass:
    """One pass over the images of a dataset, all resized to one size.

    Args:
        paths: the image files. Row i of each member's file belongs to ``paths[i]``.
        pixels: the size to which images are resized. Its mean and std are ignored: each member uses its own.
        members: the models that embed the images.
        stay_ready: True to keep the models ready for the next pass, if there is memory for all.
    """

    paths: Sequence[Path]
    pixels: PixelSpec
    members: Sequence[PassMember]
    stay_ready: bool = False

    @property
    def start(self) -> int:
        """Number of images at the start of the dataset that every member has embedded already."""
        return min((member.log.rows for member in self.members), default=len(self.paths))

    def run(self, settings: Settings, advance: Callable[[int], object]) -> None:
        """Embed the images that some members have not embedded yet.

        Args:
            settings: device, batch size and number of workers.
            advance: called after each batch with its number of images.

        Raises:
            DatasetError: an image cannot be decoded.
            CacheError: the rows cannot be written.
            torch.OutOfMemoryError: the GPU has too little memory for a batch.
        """
        groups = _group_by_memory([m for m in self.members if not m.log.complete], settings.device)
        for chunk in _split(self._read_batches(settings), chunked=len(groups) > 1):
            for group in groups:
                with _on_device(group, settings.device, rest=len(groups) > 1 or not self.stay_ready):
                    for pixels, first in upload_ahead(iter(chunk), settings.device):
                        _embed(group, pixels, first)
                        if group is groups[-1]:
                            advance(len(pixels))

    def _read_batches(self, settings: Settings) -> Iterator[Batch]:
        start = self.start
        for pixels, places in load_batches(self.paths[start:], self.pixels, settings.batch_size, settings.workers):
            yield pixels, start + int(places[0])


RunPass = Callable[[DatasetPass, Settings, Callable[[int], object]], None]
"""A function that does what `DatasetPass.run` does, with the same arguments and errors."""


def _group_by_memory(members: Sequence[PassMember], device: torch.device) -> list[list[PassMember]]:
    """Group the members so that each group fits into half of the free GPU memory, or on a CPU into 2 GB."""
    room = _MEMORY_SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _CPU_MEMORY
    groups: list[list[PassMember]] = []
    used = 0.0
    for member in members:
        needed = member.embedder.estimate_memory(device)
        used += needed
        if not groups or used > room:
            groups.append([])
            used = needed
        groups[-1].append(member)
    return groups


def _split(batches: Iterator[Batch], *, chunked: bool) -> Iterator[Iterable[Batch]]:
    """Yield the batches in parts; all groups of models embed one part before the next part is read.

    Args:
        batches: all batches.
        chunked: True for several groups: each part is a list of up to 64 batches, which every group can read. False for
            one group: the only part is the iterator ``batches`` itself, so no batches are kept in memory.
    """
    if not chunked:
        yield batches
        return
    while chunk := list(islice(batches, _CHUNK)):
        yield chunk


@contextmanager
def _on_device(group: Sequence[PassMember], device: torch.device, *, rest: bool) -> Iterator[None]:
    """Keep the models of a group on the device during the ``with`` block; if ``rest``, free their memory then."""
    for member in group:
        member.embedder.move(device)
    try:
        yield
    finally:
        for member in group if rest else ():
            member.embedder.rest()


def _embed(group: Sequence[PassMember], pixels: Tensor, first: int) -> None:
    """Embed a batch with each member that has not embedded it yet, and write the results to the member's file.

    Args:
        group: members whose models are on the device.
        pixels: uint8 (N, 3, H, W), the batch.
        first: index of the batch's first image in the dataset.
    """
    missing = [member for member in group if member.log.rows == first]
    rows = [member.embedder(pixels) for member in missing]  # a GPU only queues this work; `cpu()` below waits for it
    for member, embedded in zip(missing, rows, strict=True):
        member.log.append(embedded.cpu())
