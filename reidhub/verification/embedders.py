"""Models on a device: batches of pixels become rows of embeddings, or of best classes.

The one place where verification meets a network.
"""

from pathlib import Path

import torch
from torch import Tensor

from reidhub.arithmetic import Arithmetic
from reidhub.checkpoint import Checkpoint
from reidhub.embedding import Embedder as Plain
from reidhub.hub import filled
from reidhub.images import PixelSpec
from reidhub.models.base import ReidModel
from reidhub.verification.results import Precision
from reidhub.weights import read_weights

BEST_CLASSES = 5
"""Classes kept of each image: top-5 needs no more."""

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def read_model(checkpoint: Checkpoint, file: Path) -> ReidModel:
    """The model of a checkpoint in eval mode, on the CPU.

    Raises:
        WeightsError: the file does not hold the weights of this architecture.
    """
    return filled(checkpoint, read_weights(file, layout=checkpoint.layout)).eval()


class Embedder:
    """One model that can be moved to the device and away from it; embedded by `reidhub.embedding`, the plain module.

    Args:
        model: in eval mode, on the CPU.
        pixels: what it wants images to be.
        classify: rows are the `BEST_CLASSES` best classes, best first, instead of embeddings.
        batch: images that run at once.
        precision: of the model's arithmetic.
    """

    def __init__(
        self, model: ReidModel, pixels: PixelSpec, *, classify: bool, batch: int = 32, precision: Precision = "fp32"
    ) -> None:
        self.dimensions = BEST_CLASSES if classify else model.embedding_dim
        self.size = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
        self._model = model
        self._pixels = pixels
        self._classify = classify
        self._batch = batch
        self._arithmetic = Arithmetic(tf32=precision == "tf32", autocast=_AUTOCAST.get(precision))
        self.move(torch.device("cpu"))

    def move(self, device: torch.device) -> None:
        """Bring the weights to a device."""
        self._embed = Plain.plain(self._model.to(device), self._pixels, self._arithmetic, batch=self._batch)

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed pixels.

        Args:
            pixels: uint8 (N, 3, H, W), on the model's device.

        Returns:
            float32 (N, D), on the same device.
        """
        embeddings = self._embed.on_device(pixels)
        if not self._classify:
            return embeddings
        with self._arithmetic.on(embeddings.device):
            return best_classes(self._model.classify(embeddings)).float()


def best_classes(logits: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The best classes (N, C) -> (N, 5), best first; equal logits in the order of the classes.

    Two classifiers, as hacnn has them, count as one: their logits are added.
    """
    total = logits if isinstance(logits, Tensor) else torch.stack(logits).sum(0)
    return total.float().argsort(dim=1, descending=True, stable=True)[:, :BEST_CLASSES]
