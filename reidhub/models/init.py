"""Sets the initial values of the tensors of a new model."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from reidhub.models.base import ReidModel
from reidhub.thread_locks import make_fork_safe_lock

_Norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d)
_one_at_a_time = make_fork_safe_lock()


@torch.no_grad()
def initialise(model: ReidModel) -> ReidModel:
    """Fill every tensor of a model with its initial values, in place, and return the model.

    Convolutions get the normal distribution of He et al., arXiv 1502.01852, in the variant for the number of outputs
    (fan-out), as is usual for residual networks. Fully connected layers get a normal distribution with standard
    deviation 0.01, as in AlexNet. Biases are 0. Normalisations get scale 1 and shift 0. Then the model's
    ``initialise_rest`` changes the tensors that need other values.
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
def skip_draws() -> Iterator[None]:
    """Let this thread create convolutions and linear layers with undefined weights, until the ``with`` block ends.

    Other threads create their layers with random weights as usual. Drawing random weights takes most of the time of
    building a large model. PyTorch's public way to avoid this is the ``meta`` device, but it is slower than this
    function. If a new version of PyTorch makes ``meta`` faster, a test fails, and this function can be deleted.
    """
    with _one_at_a_time:
        drawn = {_find_owner(layer, "reset_parameters") for layer in (nn.Conv2d, nn.Linear)}
        usual = {owner: owner.reset_parameters for owner in drawn}
        for owner, reset in usual.items():
            owner.reset_parameters = _skip_in_thread(threading.get_ident(), reset)
        try:
            yield
        finally:
            for owner, reset in usual.items():
                owner.reset_parameters = reset


def _find_owner(layer: type[nn.Module], method: str) -> Any:
    """Return the class in which the method of a layer class is written: the layer class, or a base class of it."""
    return next(owner for owner in layer.__mro__ if method in vars(owner))


def _skip_in_thread(thread: int, reset: Callable[[nn.Module], None]) -> Callable[[nn.Module], None]:
    """Return a ``reset_parameters`` that does nothing in the given thread and calls ``reset`` in all others."""

    def reset_parameters(layer: nn.Module) -> None:
        if threading.get_ident() != thread:
            reset(layer)

    return reset_parameters
