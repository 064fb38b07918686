"""Images in, embeddings out: in full batches alone, so that nothing is compiled twice and no result hangs on N."""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from reidhub.embedding.compiling import Compiled, Forward
from reidhub.embedding.folding import folded
from reidhub.embedding.gates import gated_at_once
from reidhub.embedding.plans import Plan
from reidhub.embedding.precision import Arithmetic, Precision, check
from reidhub.embedding.threads import threads_that_run
from reidhub.embedding.uploading import uploaded
from reidhub.errors import UsageError
from reidhub.images import PixelSpec, load_batches, normalise
from reidhub.models.base import ReidModel

EVERY_STEP = Plan()


class Embedder:
    """A model made fast; the model itself stays as it is.

    Every batch has ``batch`` rows: the last one is filled up, and what fills it up is cut off again. With ``exact``,
    an embedding has the bits the plain module gives for a batch of that many images.

    Args:
        model: in eval mode, on the device where it is to run.
        spec: the pixels it wants.
        precision: ``exact``, the plain module; ``fp32``, as fast as float32 goes; ``bf16``, where the hardware has it.
        batch: images that run at once, above 0; fewer cost as much. None for the plan's.
        plan: what pays for this architecture, from `plan_for`; ``exact`` takes none of its steps.

    Attributes:
        dimensions: D, the length of an embedding.
        batch: images that run at once.
        device: where the model runs.

    Raises:
        UsageError: the model is in train mode, the batch is below 1, or the precision is unknown or not to be had here.
    """

    def __init__(
        self,
        model: ReidModel,
        spec: PixelSpec,
        *,
        precision: Precision = "fp32",
        batch: int | None = None,
        plan: Plan = EVERY_STEP,
    ) -> None:
        batch = plan.at_once(batch)
        if model.training:
            raise UsageError("an embedder needs a model in eval mode", hint="call model.eval()")
        self.device = next(model.parameters()).device
        check(precision, self.device)
        self.dimensions = model.embedding_dim
        self.batch = batch
        self._spec = spec
        self._arithmetic = Arithmetic(
            autocast=torch.bfloat16 if precision == "bf16" else None, timed=precision != "exact"
        )
        self._format = _format(plan, precision)
        self._run: Forward = model if precision == "exact" else _prepared(model, self.device, plan)

    @classmethod
    def plain(cls, model: ReidModel, spec: PixelSpec, arithmetic: Arithmetic, *, batch: int) -> Self:
        """The plain module, as ``exact`` runs it, in an arithmetic of the caller's choice."""
        embedder = cls(model, spec, precision="exact", batch=batch)
        embedder._arithmetic = arithmetic
        return embedder

    def __call__(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: (N, 3, H, W), float32 and normalised, or uint8 RGB pixels; on any device.

        Returns:
            float32 (N, D), on the CPU.

        Raises:
            UsageError: another shape or dtype.
        """
        return self.on_device(images).cpu()

    def on_device(self, images: Tensor) -> Tensor:
        """As a call, but what comes back stays on the model's device; a GPU may still be computing it."""
        self._check(images)
        embeddings = torch.empty(len(images), self.dimensions, device=self.device)
        with threads_that_run():
            for first in range(0, len(images), self.batch):
                rows = slice(first, first + self.batch)
                self._embed(images[rows], embeddings[rows])
        return embeddings

    def embed_files(self, paths: Iterable[Path | str], workers: int = 2) -> Tensor:
        """Embed image files, decoded while the batches before them run.

        Args:
            paths: image files.
            workers: threads that decode, above 0.

        Returns:
            float32 (N, D), on the CPU, in the order of ``paths``.

        Raises:
            DatasetError: a file cannot be decoded.
            UsageError: a single path, or no workers.
        """
        if isinstance(paths, str | Path):
            raise UsageError(f"embed_files takes a list of image files, got {str(paths)!r}", hint="[path] for one")
        if workers < 1:
            raise UsageError(f"embed_files needs workers above 0, got {workers}")
        paths = list(paths)
        embeddings = torch.empty(len(paths), self.dimensions, device=self.device)
        for pixels, places in uploaded(load_batches(paths, self._spec, self.batch, workers), self.device):
            rows = slice(int(places[0]), int(places[-1]) + 1)
            embeddings[rows] = self.on_device(pixels)
        return embeddings.cpu()

    @torch.no_grad()
    def _embed(self, images: Tensor, embeddings: Tensor) -> None:
        """At most one batch, into rows of the caller's: a graph writes its next embeddings where these ones are."""
        count = len(images)
        images = images.to(self.device, non_blocking=True)
        if count < self.batch:
            images = torch.cat((images, images.new_zeros((self.batch - count, *images.shape[1:]))))
        if images.dtype == torch.uint8:
            images = normalise(images, self._spec)
        with self._arithmetic.on(self.device):
            embeddings.copy_(self._run(images.contiguous(memory_format=self._format))[:count])

    def _check(self, images: Tensor) -> None:
        if not isinstance(images, Tensor):
            raise UsageError(
                f"images are a torch.Tensor, got {type(images).__name__}", hint="torch.from_numpy makes one of an array"
            )
        wanted = (3, self._spec.height, self._spec.width)
        if images.ndim != 4 or images.shape[1:] != wanted or images.dtype not in (torch.uint8, torch.float32):
            raise UsageError(
                f"images are float32 or uint8 (N, {', '.join(map(str, wanted))}), "
                f"got {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
            )


def _format(plan: Plan, precision: Precision) -> torch.memory_format:
    return torch.channels_last if plan.channels_last and precision != "exact" else torch.contiguous_format


def _prepared(model: ReidModel, device: torch.device, plan: Plan) -> Forward:
    """A copy of the model with the steps of a plan taken."""
    module: nn.Module = gated_at_once(model)
    if plan.fold:
        module = folded(module)
    if plan.channels_last:
        module = module.to(memory_format=torch.channels_last)
    return Compiled(module, device) if plan.compile else module
