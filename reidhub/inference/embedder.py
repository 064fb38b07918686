"""Images in, embeddings out: in full batches alone, so that nothing is compiled twice and no result hangs on N."""

from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Self

import torch
from torch import Tensor, nn

from reidhub.errors import UsageError
from reidhub.inference.compiling import Compiled, Forward
from reidhub.inference.folding import folded
from reidhub.inference.gates import gated_at_once
from reidhub.inference.plans import Plan
from reidhub.inference.preprocess import PixelSpec, load_batches, normalise_into
from reidhub.inference.upload import uploaded
from reidhub.models.base import ReidModel
from reidhub.torch_settings import Arithmetic, Precision, check_precision, limit_threads

EVERY_STEP = Plan()


class Embedder:
    """A model made fast, for any number of threads; the model itself stays as it is.

    Every batch has ``batch`` rows: the last one is filled up, and what fills it up is cut off again. With ``exact``,
    an embedding has the bits the plain module gives for a batch of that many images.

    Args:
        model: in eval mode, of float32, on the device where it is to run.
        spec: the pixels it wants.
        precision: ``exact``, the plain module; ``fp32``, as fast as float32 goes; ``bf16``, where the hardware has it.
        batch: images that run at once, above 0; fewer cost as much. None for the plan's.
        plan: what pays for this architecture, from `plan_for`; ``exact`` takes none of its steps.

    Attributes:
        dimensions: D, the length of an embedding.
        batch: images that run at once.
        device: where the model runs.

    Raises:
        UsageError: the model is in train mode or not of float32, the batch is below 1, or the precision is unknown or
            not to be had here.
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
        _check_mode(model)
        if other := {str(p.dtype) for p in model.parameters()} - {"torch.float32"}:
            raise UsageError(f"an embedder needs a model of float32, got {', '.join(other)}", hint="call model.float()")
        self.device = next(model.parameters()).device
        check_precision(precision, self.device)
        self.dimensions = model.embedding_dim
        self.batch = batch
        self._spec = spec
        self._arithmetic = Arithmetic(
            autocast=torch.bfloat16 if precision == "bf16" else None, timed=precision != "exact"
        )
        self._format = _format(plan, precision)
        self._plain = model if precision == "exact" else None
        self._run: Forward = self._plain or _prepared(model, self.device, plan)
        self._turn = Lock()

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

    @torch.inference_mode(False)  # its tensors look other to a compiler, which would make the code again
    @torch.no_grad()
    def on_device(self, images: Tensor) -> Tensor:
        """As a call, but what comes back stays on the model's device.

        A GPU may still be computing it, and reading ``images`` where they lie in pinned memory.
        """
        self._check(images)
        embeddings = torch.empty((len(images), self.dimensions), dtype=torch.float32, device=self.device)
        with limit_threads():
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
        embeddings = torch.empty((len(paths), self.dimensions), dtype=torch.float32, device=self.device)
        for pixels, places in uploaded(load_batches(paths, self._spec, self.batch, workers), self.device):
            rows = slice(int(places[0]), int(places[-1]) + 1)
            embeddings[rows] = self.on_device(pixels)
        return embeddings.cpu()

    def _embed(self, images: Tensor, embeddings: Tensor) -> None:
        """At most one batch, into rows of the caller's: a graph writes its next embeddings where these ones are.

        Threads take turns for the same reason. Whatever the images are, what runs is a new tensor of one size and one
        layout, for which code was made once.
        """
        count, shape = len(images), (self.batch, *images.shape[1:])
        batch = torch.empty(shape, dtype=torch.float32, device=self.device, memory_format=self._format)
        images = images.to(self.device, non_blocking=self.device.type == "cuda")
        if images.dtype == torch.uint8:
            normalise_into(batch[:count], images, self._spec)
        else:
            batch[:count].copy_(images)
        batch[count:].zero_()
        with self._arithmetic.on(self.device), self._turn:  # a thread that has its turn never waits for an arithmetic
            embeddings.copy_(self._run(batch)[:count])

    def _check(self, images: Tensor) -> None:
        if self._plain is not None:
            _check_mode(self._plain)
        if not isinstance(images, Tensor):
            raise UsageError(f"images are a torch.Tensor, got {type(images).__name__}", hint=_way_to_tensor(images))
        wanted = (3, self._spec.height, self._spec.width)
        if images.ndim != 4 or images.shape[1:] != wanted or images.dtype not in (torch.uint8, torch.float32):
            raise UsageError(
                f"images are float32 or uint8 (N, {', '.join(map(str, wanted))}), "
                f"got {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}",
                hint=_way_to_fit(images, wanted),
            )


def _way_to_tensor(images: object) -> str:
    if type(images).__name__ == "ndarray":
        return "torch.from_numpy makes one of an array"
    return "embed_files takes paths; reidhub.transform makes one of a single image, torch.stack one of several"


def _way_to_fit(images: Tensor, wanted: tuple[int, ...]) -> str | None:
    """What makes them fit, where that is plain."""
    if images.shape == wanted:
        return "images[None] for a single one"
    if images.shape[1:] == (*wanted[1:], 3):
        return "images.permute(0, 3, 1, 2)"
    if images.shape[1:] == wanted:
        return "images.float()" if images.is_floating_point() else "images.byte() for pixels from 0 to 255"
    return None


def _check_mode(model: ReidModel) -> None:
    if model.training:
        raise UsageError("an embedder needs a model in eval mode", hint="call model.eval()")


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
