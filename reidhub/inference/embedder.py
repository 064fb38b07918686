"""The embedder: it computes embeddings of images or image files, in batches of one size."""

from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Self

import torch
from torch import Tensor

from reidhub.errors import UsageError
from reidhub.inference.engine import Engine, make_engine
from reidhub.inference.plans import EmbedderPlan
from reidhub.inference.preprocess import PixelSpec, load_batches, normalise_into
from reidhub.inference.upload import upload_ahead
from reidhub.models.base import ReidModel
from reidhub.torch_settings import Precision, limit_threads

EVERY_STEP = EmbedderPlan()


class Embedder:
    """Embeds any number of images in batches of one size; several threads can use it at once.

    The last batch is filled up with zeros, and the embeddings of the zeros are dropped. So the model is compiled for
    one batch size only, and no bit of an embedding depends on the number of images.

    Args:
        engine: the model that computes the batches.
        spec: size and normalisation of the model's images.
        batch: images in a batch, above 0; a batch with fewer images takes as long as a full one.

    Attributes:
        dimensions: D, the length of an embedding.
        batch: images in a batch.
        device: the device on which the model runs.
    """

    def __init__(self, engine: Engine, spec: PixelSpec, batch: int) -> None:
        self.dimensions = engine.dimensions
        self.batch = batch
        self.device = engine.device
        self._engine = engine
        self._spec = spec
        self._turn = Lock()

    @classmethod
    def of_model(
        cls,
        model: ReidModel,
        spec: PixelSpec,
        *,
        precision: Precision = "fp32",
        batch: int | None = None,
        plan: EmbedderPlan = EVERY_STEP,
    ) -> Self:
        """Make an embedder from a model; the model is not changed.

        Args:
            model: float32, in eval mode, on the device that will compute.
            spec: size and normalisation of the model's images.
            precision: ``exact``, the model itself; ``fp32``, a faster copy; ``bf16``, if the hardware has it.
            batch: images in a batch, above 0; None for the number in the plan.
            plan: steps that make the copy faster, from `plan_for`.

        Raises:
            UsageError: the model is in train mode or not float32, the batch is below 1, or the precision is unknown or
                the device lacks it.
        """
        batch = plan.choose_batch(batch)
        return cls(make_engine(model, precision, plan), spec, batch)

    def __call__(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: (N, 3, H, W), float32 and normalised, or uint8 RGB pixels; on any device.

        Returns:
            float32 (N, D), on the CPU.

        Raises:
            UsageError: the images have another shape or dtype.
        """
        return self.embed_on_device(images).cpu()

    @torch.inference_mode(False)  # for tensors of inference mode torch would compile the model again
    @torch.no_grad()
    def embed_on_device(self, images: Tensor) -> Tensor:
        """Embed images like a call of the embedder, but leave the embeddings on the model's device.

        When this returns, a GPU may still compute the embeddings, and may still read images in pinned memory.
        """
        self._check_images(images)
        embeddings = torch.empty((len(images), self.dimensions), dtype=torch.float32, device=self.device)
        with limit_threads():
            for first in range(0, len(images), self.batch):
                rows = slice(first, first + self.batch)
                self._embed(images[rows], embeddings[rows])
        return embeddings

    def embed_files(self, paths: Iterable[Path | str], workers: int = 2) -> Tensor:
        """Embed image files; the next files are decoded while the model runs.

        Args:
            paths: image files.
            workers: threads that decode, above 0.

        Returns:
            float32 (N, D), on the CPU, in the order of ``paths``.

        Raises:
            DatasetError: a file cannot be decoded.
            UsageError: ``paths`` is a single path, or ``workers`` is below 1.
        """
        if isinstance(paths, str | Path):
            raise UsageError(f"embed_files takes a list of image files, got {str(paths)!r}", hint="[path] for one")
        if workers < 1:
            raise UsageError(f"embed_files needs workers above 0, got {workers}")
        paths = list(paths)
        embeddings = torch.empty((len(paths), self.dimensions), dtype=torch.float32, device=self.device)
        for pixels, places in upload_ahead(load_batches(paths, self._spec, self.batch, workers), self.device):
            rows = slice(int(places[0]), int(places[-1]) + 1)
            embeddings[rows] = self.embed_on_device(pixels)
        return embeddings.cpu()

    def _embed(self, images: Tensor, embeddings: Tensor) -> None:
        """Embed at most one batch.

        The images are copied into a new tensor of ``batch`` images, because the model may be compiled for only this
        batch size and memory layout. A CUDA graph overwrites its last result in each run. Therefore only one thread at
        a time runs the model, and the result is copied into ``embeddings``.

        Args:
            images: (n, 3, H, W), n at most ``batch``.
            embeddings: (n, D); filled.
        """
        engine, count, shape = self._engine, len(images), (self.batch, *images.shape[1:])
        batch = torch.empty(shape, dtype=torch.float32, device=engine.device, memory_format=engine.memory_format)
        images = images.to(engine.device, non_blocking=engine.device.type == "cuda")
        if images.dtype == torch.uint8:
            normalise_into(batch[:count], images, self._spec)
        else:
            batch[:count].copy_(images)
        batch[count:].zero_()
        with engine.arithmetic.on(engine.device), self._turn:  # this order: nobody waits while it holds the lock
            embeddings.copy_(engine.run(batch)[:count])

    def _check_images(self, images: Tensor) -> None:
        if not isinstance(images, Tensor):
            raise UsageError(f"images are a torch.Tensor, got {type(images).__name__}", hint=_suggest_tensor(images))
        wanted = (3, self._spec.height, self._spec.width)
        if images.ndim != 4 or images.shape[1:] != wanted or images.dtype not in (torch.uint8, torch.float32):
            raise UsageError(
                f"images are float32 or uint8 (N, {', '.join(map(str, wanted))}), "
                f"got {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}",
                hint=_suggest_shape(images, wanted),
            )


def _suggest_tensor(images: object) -> str:
    """Return a hint how to make a tensor from an object that is none."""
    if type(images).__name__ == "ndarray":
        return "torch.from_numpy makes one of an array"
    return "embed_files takes paths; reidhub.transform makes one of a single image, torch.stack one of several"


def _suggest_shape(images: Tensor, wanted: tuple[int, ...]) -> str | None:
    """Return a hint how to make images fit; None if that is not obvious."""
    if images.shape == wanted:
        return "images[None] for a single one"
    if images.shape[1:] == (*wanted[1:], 3):
        return "images.permute(0, 3, 1, 2)"
    if images.shape[1:] == wanted:
        return "images.float()" if images.is_floating_point() else "images.byte() for pixels from 0 to 255"
    return None
