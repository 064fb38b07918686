"""Measures memory traffic: how many bytes a model must read and write, and how fast a device copies bytes."""

from typing import Any

import torch
from side_by_side import medians
from torch import Tensor, nn

_COPIED = 2**28  # bytes: larger than the cache of any processor


def copy_speed(device: torch.device) -> float:
    """Copy a large tensor, and return how many bytes per second the device reads and writes in total."""
    source = torch.ones(_COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return 2 * _COPIED / medians({"copy": copy}, 9)["copy"]


@torch.no_grad()
def bytes_passed(model: nn.Module, images: Tensor, width: int) -> int:
    """Count the bytes that the convolutions and linear layers of a model read and write for a batch.

    Each number has ``width`` bytes. Other layers are not counted: a good compiler merges them into these layers.
    """
    passed = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        nonlocal passed
        weights = sum(parameter.numel() for parameter in layer.parameters())
        passed += width * (inputs[0].numel() + weights + output.numel())

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    model(images)
    for hook in hooks:
        hook.remove()
    return passed
