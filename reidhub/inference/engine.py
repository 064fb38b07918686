"""Engines: models that are ready to run, each with the settings for its arithmetic.

An engine maps normalised images (N, 3, H, W) to embeddings (N, D). Making an engine never changes the given model.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reidhub.errors import UsageError
from reidhub.inference.compiling import Compiled, Forward
from reidhub.inference.folding import fold_normalisations
from reidhub.inference.gates import merge_gates
from reidhub.inference.plans import EmbedderPlan
from reidhub.models.base import ReidModel
from reidhub.torch_settings import Arithmetic, Precision, check_precision


@dataclass(frozen=True, slots=True)
class Engine:
    """A model that is ready to run.

    Args:
        run: (N, 3, H, W) -> (N, D), float32 on ``device``; N is the same in every call.
        dimensions: D, the length of an embedding.
        device: the device on which the model runs.
        arithmetic: settings for its arithmetic.
        memory_format: memory format of its input images.
    """

    run: Forward
    dimensions: int
    device: torch.device
    arithmetic: Arithmetic
    memory_format: torch.memory_format = torch.contiguous_format


def make_engine(model: ReidModel, precision: Precision, plan: EmbedderPlan) -> Engine:
    """Make the engine of a model for a precision.

    Args:
        model: float32, in eval mode, on the device that will compute.
        precision: ``exact`` runs the model itself; ``fp32`` and ``bf16`` run a faster copy.
        plan: steps that make the copy faster.

    Raises:
        UsageError: the model is in train mode or not float32, or the precision is unknown or the device lacks it.
    """
    check_precision(precision, _find_device(model))
    if precision == "exact":
        return make_plain_engine(model, Arithmetic())
    _check_model(model)
    arithmetic = Arithmetic(autocast=torch.bfloat16 if precision == "bf16" else None, timed=True)
    memory_format = torch.channels_last if plan.channels_last else torch.contiguous_format
    return Engine(_prepare(model, plan), model.embedding_dim, _find_device(model), arithmetic, memory_format)


def make_plain_engine(model: ReidModel, arithmetic: Arithmetic) -> Engine:
    """Make an engine that runs the model itself.

    Raises:
        UsageError: the model is in train mode or not float32.
    """
    _check_model(model)

    def run(images: Tensor) -> Tensor:
        _check_mode(model)  # the user may have changed it since
        embeddings: Tensor = model(images)
        return embeddings

    return Engine(run, model.embedding_dim, _find_device(model), arithmetic)


def _prepare(model: ReidModel, plan: EmbedderPlan) -> Forward:
    """Copy the model and apply the steps of a plan to the copy."""
    module: nn.Module = merge_gates(model)
    if plan.fold:
        module = fold_normalisations(module)
    if plan.channels_last:
        module = module.to(memory_format=torch.channels_last)
    return Compiled(module, _find_device(model)) if plan.compile else module


def _find_device(model: ReidModel) -> torch.device:
    return next(model.parameters()).device


def _check_model(model: ReidModel) -> None:
    _check_mode(model)
    if other := {str(p.dtype) for p in model.parameters()} - {"torch.float32"}:
        raise UsageError(f"an embedder needs a model of float32, got {', '.join(other)}", hint="call model.float()")


def _check_mode(model: ReidModel) -> None:
    if model.training:
        raise UsageError("an embedder needs a model in eval mode", hint="call model.eval()")
