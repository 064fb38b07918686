"""Folding: merge each batch normalisation into the layer before it; the model then computes the same with less work."""

import copy
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

Normalisation = nn.BatchNorm1d | nn.BatchNorm2d


def fold_normalisations(model: nn.Module) -> fx.GraphModule:
    """Copy a model and fold each batch normalisation into the convolution or linear layer before it, if possible.

    It is possible if the output of the layer goes only to the normalisation. If a layer is called several times, the
    same normalisation must follow every call, and this normalisation must follow no other layer.

    Args:
        model: in eval mode; not changed.
    """
    traced = fx.symbolic_trace(copy.deepcopy(model))
    for target in {str(node.target): None for node in traced.graph.nodes if node.op == "call_module"}:
        layer, calls = traced.get_submodule(target), _find_calls(traced, target)
        readers = [reader for call in calls for reader in call.users]
        if isinstance(layer, nn.Conv2d | nn.Linear) and _is_one_normalisation(traced, calls, readers):
            _fold(traced, target, readers)
    traced.graph.lint()
    traced.recompile()
    return traced


def _find_calls(traced: fx.GraphModule, target: str) -> list[fx.Node]:
    """Find all calls of one module in a graph."""
    return [node for node in traced.graph.nodes if node.op == "call_module" and node.target == target]


def _is_one_normalisation(traced: fx.GraphModule, calls: list[fx.Node], readers: list[fx.Node]) -> bool:
    """Return True if a layer and the batch normalisation after it can be merged into one layer.

    Every output of the layer must go to the same normalisation, and to nothing else. The normalisation must get no
    other input, and must have running statistics.

    Args:
        traced: the graph of the model.
        calls: all nodes that call the layer.
        readers: all nodes that use the outputs of ``calls``.
    """
    if not readers or readers[0].op != "call_module":
        return False
    norm = traced.get_submodule(str(readers[0].target))
    return (
        isinstance(norm, Normalisation)
        and norm.running_mean is not None  # without it, the result depends on the batch even in eval mode
        and all(len(call.users) == 1 for call in calls)
        and set(readers) == set(_find_calls(traced, str(readers[0].target)))
    )


def _fold(traced: fx.GraphModule, target: str, readers: list[fx.Node]) -> None:
    """Replace a layer and the normalisation after it by one layer."""
    norm = cast(Normalisation, traced.get_submodule(str(readers[0].target)))
    path, _, name = target.rpartition(".")
    setattr(traced.get_submodule(path), name, _fuse(traced.get_submodule(target), norm))
    for reader in readers:
        reader.replace_all_uses_with(cast(fx.Node, reader.args[0]))
        traced.graph.erase_node(reader)


@torch.no_grad()
def _fuse(layer: nn.Module, norm: Normalisation) -> nn.Module:
    """Fuse a layer and its normalisation into one layer, in double precision, so that only the result is rounded."""
    dtype = next(layer.parameters()).dtype
    layer, norm = layer.double(), norm.double()
    if not norm.affine:  # torch's fusion needs a weight and a bias
        norm.weight = nn.Parameter(torch.ones_like(cast(Tensor, norm.running_var)))
        norm.bias = nn.Parameter(torch.zeros_like(cast(Tensor, norm.running_var)))
    if isinstance(layer, nn.Conv2d):
        return fuse_conv_bn_eval(layer, norm).to(dtype)
    return fuse_linear_bn_eval(cast(nn.Linear, layer), norm).to(dtype)
