"""What new layers start from."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from reidhub.models.base import ReidModel

_DRAWN: tuple[Any, ...] = (_ConvNd, nn.Linear, _NormBase)  # where the layers' own initialisation stands
_one_at_a_time = threading.RLock()
_Norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d)


@torch.no_grad()
def initialise(model: ReidModel) -> ReidModel:
    """Fill every tensor of ``model`` in place.

    Convolutions: He et al., arXiv 1502.01852, on the outgoing side, as arXiv 1512.03385 and its descendants do;
    fully connected layers: a normal distribution of deviation 0.01, as AlexNet's; normalisations: the identity. What an
    architecture starts otherwise, its ``initialise_rest`` fills last.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        elif isinstance(module, _Norm):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    model.initialise_rest()
    return model


@contextmanager
def undrawn() -> Iterator[None]:
    """Layers that this thread makes keep what the memory held: drawing takes half the time of building a model.

    ``torch.nn`` has no switch for it. Layers that other threads make meanwhile are initialised as ever.
    """
    with _one_at_a_time:
        before = [(layer, layer.reset_parameters) for layer in _DRAWN]
        for layer, reset in before:
            layer.reset_parameters = _by_others(reset, threading.get_ident())
        try:
            yield
        finally:
            for layer, reset in before:
                layer.reset_parameters = reset


def _by_others(reset: Callable[[nn.Module], None], here: int) -> Callable[[nn.Module], None]:
    """``reset``, but nothing in the thread ``here``."""

    def reset_parameters(layer: nn.Module) -> None:
        if threading.get_ident() != here:
            reset(layer)

    return reset_parameters
