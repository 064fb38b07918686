"""One pass over the images of a dataset: each is decoded once, and every model embeds it.

Models that fit on the device together stay there; those that do not take turns, a stretch of batches at a time, so that
no image is decoded twice for them either.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from reidhub.inference import Embedder as Plain
from reidhub.inference import uploaded
from reidhub.inference.preprocess import PixelSpec, load_batches
from reidhub.models.base import ReidModel
from reidhub.torch_settings import Arithmetic
from reidhub.verification.journal import RowLog
from reidhub.verification.results import Precision
from reidhub.verification.settings import Settings
from reidhub.weights import read_weights
from reidhub.weights.load import filled
from reidhub.zoo.checkpoint import Checkpoint

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
    """One model that can be moved to the device and away from it; embedded by `reidhub.inference`, the plain module.

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


_STRETCH = 64  # batches that are held while models take turns: 1.6 GB of pixels at 256 images of 256x128
_SHARE = 0.5  # of the free memory of a GPU; the rest is for what models compute

Batch = tuple[Tensor, int]
"""uint8 pixels (N, 3, H, W) and the place of the first image."""


@dataclass(frozen=True, slots=True)
class Member:
    """A model that takes part in a pass, and the file its rows go to."""

    embedder: Embedder
    log: RowLog


@dataclass(frozen=True, slots=True)
class Pass:
    """The images of one dataset in one size.

    Args:
        paths: in the order of the rows.
        pixels: size of the images; mean and standard deviation are each model's own.
        members: models that embed them.
    """

    paths: Sequence[Path]
    pixels: PixelSpec
    members: Sequence[Member]

    @property
    def start(self) -> int:
        """Images that no member needs any more."""
        return min((member.log.rows for member in self.members), default=len(self.paths))

    def run(self, settings: Settings, advance: Callable[[int], object]) -> None:
        """Embed what is missing.

        Args:
            settings: device, precision, size of batches.
            advance: is told the number of images after each batch.

        Raises:
            DatasetError: an image cannot be decoded.
            CacheError: the disk does not take the rows.
            torch.OutOfMemoryError: the GPU has too little memory for a batch.
        """
        groups = _turns([m for m in self.members if not m.log.complete], settings.device)
        for stretch in _stretches(self._batches(settings), held=len(groups) > 1):
            for group in groups:
                with _on_device(group, settings.device):
                    for pixels, first in uploaded(iter(stretch), settings.device):
                        _embed(group, pixels, first)
                        if group is groups[-1]:
                            advance(len(pixels))

    def _batches(self, settings: Settings) -> Iterator[Batch]:
        start = self.start
        for pixels, places in load_batches(self.paths[start:], self.pixels, settings.batch_size, settings.workers):
            yield pixels, start + int(places[0])


def _turns(members: Sequence[Member], device: torch.device) -> list[list[Member]]:
    """Groups of members whose weights fit on the device together; a CPU takes all of them."""
    room = _SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")
    groups: list[list[Member]] = []
    used = 0.0
    for member in members:
        used += member.embedder.size
        if not groups or used > room:
            groups.append([])
            used = member.embedder.size
        groups[-1].append(member)
    return groups


def _stretches(batches: Iterator[Batch], *, held: bool) -> Iterator[Iterable[Batch]]:
    """All batches as they come, or where they are needed several times, so many as are held at a time."""
    if not held:
        yield batches
        return
    while stretch := list(islice(batches, _STRETCH)):
        yield stretch


@contextmanager
def _on_device(group: Sequence[Member], device: torch.device) -> Iterator[None]:
    for member in group:
        member.embedder.move(device)
    try:
        yield
    finally:
        for member in group:
            member.embedder.move(torch.device("cpu"))


def _embed(group: Sequence[Member], pixels: Tensor, first: int) -> None:
    """Embed a batch with each member that does not have it yet."""
    missing = [member for member in group if member.log.rows == first]
    rows = [member.embedder(pixels) for member in missing]  # a GPU has it all queued before the first is waited for
    for member, embedded in zip(missing, rows, strict=True):
        member.log.append(embedded.cpu())
