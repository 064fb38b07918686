"""Count the parameters and multiply-adds of a model in the same way as the zoo's published tables.

Only the multiply-adds of convolutions and matrix products are counted, not those of normalisation, activations, pooling
and resampling. Modules that are not needed for an embedding, such as the classifier, are not counted at all.
"""

import copy
from collections import Counter
from itertools import chain

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from reidhub.errors import UsageError
from reidhub.models.base import ReidModel
from reidhub.zoo.checkpoint import Complexity


def complexity(model: ReidModel, input: tuple[int, int] | Tensor | None = None) -> Complexity:
    """Count the parameters and multiply-adds that an embedding needs, without computing one.

    Args:
        model: in any mode and on any device; not changed.
        input: (height, width) in pixels, or images (N, 3, H, W), whose values do not matter; None for the model's
            ``input_size``.

    Returns:
        The parameters of the model, and the multiply-adds for one image.

    Raises:
        UsageError: the model is hacnn and ``input`` is not its ``input_size``, or an argument has a wrong type.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"complexity takes a model, got {model!r}", hint="reidhub.build(name) makes a model of a name")
    twin = _copy_without_data(model)
    images = _make_images(model.input_size if input is None else input)
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


def _copy_without_data(model: ReidModel) -> ReidModel:
    """Copy a model; the copy is in eval mode, and its tensors have shapes but no values."""
    shapes: dict[int, Tensor] = {}
    for tensor in chain(model.parameters(), model.buffers()):
        empty = torch.empty_like(tensor, device="meta", requires_grad=False)
        shapes[id(tensor)] = nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(model, shapes).eval()


def _make_images(input: tuple[int, int] | Tensor) -> Tensor:
    """Make images without values: (1, 3, H, W), or the shape of ``input``."""
    try:
        height, width = input.shape[-2:] if isinstance(input, Tensor) else input
        return torch.empty(input.shape if isinstance(input, Tensor) else (1, 3, height, width), device="meta")
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"input is (height, width) or a tensor (N, 3, H, W), got {input!r}") from error
