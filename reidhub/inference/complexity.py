"""What a model costs at test time, by the definition under which the zoo's tables print parameters and GFLOPs.

Counted are the multiply-adds of convolutions and matrix products; normalisation, activations, pooling and resampling
count nothing. What an embedding does not pass through, the classifier above all, counts neither here nor there.
"""

import copy
from collections import Counter
from itertools import chain

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from reidhub.models.base import ReidModel
from reidhub.zoo.checkpoint import Complexity


def complexity(model: ReidModel, input: tuple[int, int] | Tensor | None = None) -> Complexity:
    """Count parameters and multiply-adds of a model in eval mode, without computing an embedding.

    Args:
        model: left as it is, whatever its mode and device.
        input: (height, width) in pixels, or images of which the shape alone matters; None for the model's own size.

    Raises:
        UsageError: hacnn, and the size is not its own.
    """
    twin = _twin_without_data(model)
    images = _images(model.input_size if input is None else input)
    calls: Counter[nn.Module] = Counter()
    for module in twin.modules():
        module.register_forward_hook(lambda called, _inputs, _outputs: calls.update([called]))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(images)
    sizes = {module: sum(parameter.numel() for parameter in module.parameters(recurse=False)) for module in calls}
    return Complexity(
        params=sum(sizes.values()),
        params_by_calls=sum(sizes[module] * times for module, times in calls.items()),
        multiply_adds=counter.get_total_flops() // 2 // len(images),  # PyTorch counts a multiply-add as two
    )


def _twin_without_data(model: ReidModel) -> ReidModel:
    """The same modules with tensors that have a shape and nothing else, in eval mode."""
    shapes: dict[int, Tensor] = {}
    for tensor in chain(model.parameters(), model.buffers()):
        empty = torch.empty_like(tensor, device="meta", requires_grad=False)
        shapes[id(tensor)] = nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(model, shapes).eval()


def _images(input: tuple[int, int] | Tensor) -> Tensor:
    """Images without data: (1, 3, H, W), or the shape of ``input``."""
    return torch.empty(input.shape if isinstance(input, Tensor) else (1, 3, *input), device="meta")
