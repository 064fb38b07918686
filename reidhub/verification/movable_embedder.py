"""A model of a verification, which can be moved to a GPU and back, and what it is loaded from."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reidhub.inference import Embedder, make_engine, make_plain_engine
from reidhub.inference.engine import Engine
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
    """A checkpoint and its file, from which a model is loaded. On another machine, the file has another ``path``.

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
        logits: (N, C). A model with several classifiers (hacnn, MGN) gives a tuple of such tensors; they are added.

    Returns:
        int64 (N, 5): the indices of the classes, highest logit first. Of equal logits, the lower index comes first.
    """
    total = logits if isinstance(logits, Tensor) else torch.stack(logits).sum(0)
    return total.float().argsort(dim=1, descending=True, stable=True)[:, :BEST_CLASSES]
