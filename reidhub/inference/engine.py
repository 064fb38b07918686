"""Engines: models that are ready to run on their device. Making an engine never changes the given model."""

import logging
from functools import partial
from pathlib import Path
from typing import Protocol, SupportsIndex

import torch
from torch import Tensor

from reidhub.errors import UsageError
from reidhub.inference.compiling import Compiled, Forward
from reidhub.inference.folding import fold_normalisations
from reidhub.inference.openvino_engine import OpenvinoEngine
from reidhub.inference.openvino_model import ConversionError
from reidhub.inference.preprocess import PixelSpec, normalise_into
from reidhub.models.base import ReidModel
from reidhub.thread_locks import Turns
from reidhub.torch_settings import Arithmetic, Precision, check_precision, limit_threads

_CPU_BATCH = 32  # images; more would only take memory
_GPU_BATCH = 128  # images; on an H100 faster than 64 or 32 (osnet_x1_0, resnet50)

_log = logging.getLogger(__name__)


class Engine(Protocol):
    """A model that is ready to run; several threads can use it at once.

    Attributes:
        name: the runtime, ``openvino`` or ``torch``.
        version: version of the runtime.
        device: the device on which the model runs.
        dimensions: D, the length of an embedding.
        batch: number of images for which the engine is fastest; any other number works too.
    """

    name: str
    version: str
    device: torch.device
    dimensions: int
    batch: int

    def __call__(self, images: Tensor, embeddings: Tensor) -> None:
        """Embed images.

        Args:
            images: uint8 or normalised float32 (N, 3, H, W), on any device.
            embeddings: float32 (N, D), on the engine's device; overwritten with the result.
        """


class TorchEngine:
    """Runs a torch module in batches.

    Args:
        run: the function that computes a batch, (N, 3, H, W) -> (N, D), on the device of the model.
        model: the original model; only its device and the length of its embeddings are read.
        spec: size and normalisation of the images.
        arithmetic: settings for the module's arithmetic.
        batch: images in a batch, above 0.
        memory_format: memory format of the images that ``run`` gets.
        fills_up: fill up the last batch with zeros, because ``run`` takes only full batches.
    """

    name = "torch"
    version = str(torch.__version__)

    def __init__(
        self,
        run: Forward,
        model: ReidModel,
        spec: PixelSpec,
        arithmetic: Arithmetic,
        *,
        batch: int,
        memory_format: torch.memory_format = torch.contiguous_format,
        fills_up: bool = False,
    ) -> None:
        self.device = _find_device(model)
        self.dimensions = model.embedding_dim
        self.batch = batch
        self._run = run
        self._spec = spec
        self._arithmetic = arithmetic
        self._memory_format = memory_format
        self._fills_up = fills_up
        self._turns = Turns("this embedder")

    @torch.inference_mode(False)  # for tensors of inference mode torch would compile the model again
    @torch.no_grad()
    def __call__(self, images: Tensor, embeddings: Tensor) -> None:
        """Embed images, see `Engine`; a GPU may still compute when this returns."""
        with limit_threads():
            for first in range(0, len(images), self.batch):
                rows = slice(first, first + self.batch)
                self._embed(images[rows], embeddings[rows])

    def _embed(self, images: Tensor, embeddings: Tensor) -> None:
        """Embed at most one batch.

        The images are copied into a new tensor, because a compiled model runs with only one batch size and memory
        layout. A CUDA graph overwrites its last result in each run. Therefore only one thread at a time runs the model,
        and the result is copied into ``embeddings``.
        """
        count, rows = len(images), self.batch if self._fills_up else len(images)
        shape = (rows, *images.shape[1:])
        batch = torch.empty(shape, dtype=torch.float32, device=self.device, memory_format=self._memory_format)
        images = images.to(self.device, non_blocking=self.device.type == "cuda")
        if images.dtype == torch.uint8:
            normalise_into(batch[:count], images, self._spec)
        else:
            batch[:count].copy_(images)
        batch[count:].zero_()
        # in this order, no thread waits for settings while it has the turn
        with self._arithmetic.on(self.device), self._turns.take():
            embeddings.copy_(self._run(batch)[:count])


def make_engine(
    model: ReidModel,
    spec: PixelSpec,
    precision: Precision = "fp32",
    *,
    batch: int | None = None,
    cached: Path | None = None,
) -> Engine:
    """Make the fastest engine of a model for a precision.

    Args:
        model: float32, in eval mode, on the device that will compute.
        spec: size and normalisation of the model's images.
        precision: ``exact`` runs the model itself, every other value a faster copy.
        batch: images in a batch, above 0; None for a number that suits the device. OpenVINO ignores it.
        cached: the checkpoint file in the cache; the model converted for OpenVINO is kept in the same folder. None to
            keep nothing.

    Raises:
        UsageError: the model is in train mode or not float32, ``batch`` is below 1, the precision is unknown or the
            device does not support it.
    """
    device = _find_device(model)
    check_precision(precision, device)
    check_batch(batch)
    _check_model(model)
    if precision == "exact":
        return make_plain_engine(model, spec, Arithmetic(), batch=batch)
    if device.type != "cpu":
        return _make_compiled_engine(model, spec, precision, batch)
    try:
        return OpenvinoEngine.of_model(model, spec, precision, cached)
    except ConversionError as error:
        _log.warning("the model runs in torch, more slowly than in OpenVINO: %s", error)
        arithmetic = Arithmetic.of_precision(precision)
        return TorchEngine(fold_normalisations(model), model, spec, arithmetic, batch=batch or _CPU_BATCH)


def make_plain_engine(
    model: ReidModel, spec: PixelSpec, arithmetic: Arithmetic, *, batch: int | None = None
) -> TorchEngine:
    """Make an engine that runs the model itself.

    Args:
        model: float32, in eval mode, on the device that will compute.
        spec: size and normalisation of the model's images.
        arithmetic: settings for the model's arithmetic.
        batch: images in a batch, above 0; None for a number that suits the device.

    Raises:
        UsageError: the model is in train mode or not float32, or ``batch`` is below 1.
    """
    _check_model(model)
    chosen = check_batch(batch) or (_CPU_BATCH if _find_device(model).type == "cpu" else _GPU_BATCH)
    return TorchEngine(partial(_run_unchanged, model), model, spec, arithmetic, batch=chosen)


def _run_unchanged(model: ReidModel, images: Tensor) -> Tensor:
    _check_mode(model)  # the user may have changed it since
    embeddings: Tensor = model(images)
    return embeddings


def check_batch(batch: int | None) -> int | None:
    """Check the number of images in a batch, and return it unchanged; None is allowed.

    Raises:
        UsageError: ``batch`` is not a whole number, or below 1.
    """
    if batch is not None and not isinstance(batch, SupportsIndex):
        raise UsageError(f"a batch is a whole number of images, got {batch!r}")
    if batch is not None and batch < 1:
        raise UsageError(f"an embedder needs a batch above 0, got {batch}")
    return batch


def _make_compiled_engine(model: ReidModel, spec: PixelSpec, precision: Precision, batch: int | None) -> TorchEngine:
    """Make an engine that runs a compiled copy of the model, in channels-last format, with folded normalisations."""
    device = _find_device(model)
    module = fold_normalisations(model).to(memory_format=torch.channels_last)
    return TorchEngine(
        Compiled(module, device),
        model,
        spec,
        Arithmetic.of_precision(precision, timed=True),
        batch=batch or _GPU_BATCH,
        memory_format=torch.channels_last,
        fills_up=True,
    )


def _find_device(model: ReidModel) -> torch.device:
    return next(model.parameters()).device


def _check_model(model: ReidModel) -> None:
    _check_mode(model)
    if other := {str(p.dtype) for p in model.parameters()} - {"torch.float32"}:
        raise UsageError(f"an embedder needs a model of float32, got {', '.join(other)}", hint="call model.float()")


def _check_mode(model: ReidModel) -> None:
    if model.training:
        raise UsageError("an embedder needs a model in eval mode", hint="call model.eval()")
