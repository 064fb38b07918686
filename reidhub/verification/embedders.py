"""Models on a device: batches of pixels become rows of embeddings, or of best classes.

The one place where verification meets a network.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reidhub.checkpoint import Checkpoint
from reidhub.images import PixelSpec, normalise
from reidhub.models import build
from reidhub.models.base import ReidModel
from reidhub.verification.results import Precision
from reidhub.weights import load_weights, num_classes_of, read_weights

BEST_CLASSES = 5
"""Classes kept of each image: top-5 needs no more."""

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def read_model(checkpoint: Checkpoint, file: Path) -> ReidModel:
    """The model of a checkpoint in eval mode, on the CPU.

    Raises:
        WeightsError: the file does not hold the weights of this architecture.
    """
    tensors = read_weights(file, layout=checkpoint.layout)
    num_classes = checkpoint.spec.num_classes or num_classes_of(tensors) or 1000
    model = build(checkpoint.model, num_classes, device="meta")
    load_weights(model, tensors, what=checkpoint.name)
    return model.eval()


class Embedder:
    """One model that can be moved to the device and away from it.

    Args:
        model: in eval mode, on the CPU.
        pixels: what it wants images to be.
        classify: rows are the `BEST_CLASSES` best classes, best first, instead of embeddings.
    """

    def __init__(self, model: ReidModel, pixels: PixelSpec, *, classify: bool) -> None:
        self.dimensions = BEST_CLASSES if classify else model.embedding_dim
        self.size = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
        self._model = model
        self._pixels = pixels
        self._classify = classify

    def move(self, device: torch.device) -> None:
        """Bring the weights to a device."""
        self._model.to(device)

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed pixels.

        Args:
            pixels: uint8 (N, 3, H, W), on the model's device.

        Returns:
            float32 (N, D), on the same device.
        """
        embedding = self._model(normalise(pixels, self._pixels))
        rows = best_classes(self._model.classify(embedding)) if self._classify else embedding
        return rows.float()


def best_classes(logits: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The best classes (N, C) -> (N, 5), best first; equal logits in the order of the classes.

    Two classifiers, as hacnn has them, count as one: their logits are added.
    """
    total = logits if isinstance(logits, Tensor) else torch.stack(logits).sum(0)
    return total.float().argsort(dim=1, descending=True, stable=True)[:, :BEST_CLASSES]


@contextmanager
def arithmetic(device: torch.device, precision: Precision) -> Iterator[None]:
    """Convolutions and matrix products in the precision that was chosen, whatever was set before.

    ``fp32`` is real float32: neither TF32 nor bfloat16 steps in. ``bf16`` and ``fp16`` are torch's autocast.
    """
    with _float32_as("tf32" if precision == "tf32" else "ieee"):
        if precision not in _AUTOCAST:
            yield
            return
        with torch.autocast(device.type, _AUTOCAST[precision]):
            yield


@contextmanager
def _float32_as(setting: str) -> Iterator[None]:
    backends: Any = torch.backends
    switches = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = setting
        yield
    finally:
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision
