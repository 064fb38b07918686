"""Batch normalisations become part of the convolution or linear layer before them: the same function, fewer passes."""

import copy
from typing import cast

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

Normalisation = nn.BatchNorm1d | nn.BatchNorm2d


def fold_normalisations(model: nn.Module) -> fx.GraphModule:
    """A copy of a model in eval mode whose batch normalisations are folded away where a layer alone stands before.

    A normalisation behind a pooling, a sum or a layer that others read as well stays what it is. A layer that is
    called often is folded where every call goes to the same normalisation.
    """
    traced = fx.symbolic_trace(copy.deepcopy(model), concrete_args={"return_embedding": False})
    for target in {str(node.target): None for node in traced.graph.nodes if node.op == "call_module"}:
        layer, calls = traced.get_submodule(target), _calls(traced, target)
        readers = [reader for call in calls for reader in call.users]
        if isinstance(layer, nn.Conv2d | nn.Linear) and _one_normalisation(traced, calls, readers):
            _fold(traced, target, readers)
    traced.graph.lint()
    traced.recompile()
    return traced


def _calls(traced: fx.GraphModule, target: str) -> list[fx.Node]:
    return [node for node in traced.graph.nodes if node.op == "call_module" and node.target == target]


def _one_normalisation(traced: fx.GraphModule, calls: list[fx.Node], readers: list[fx.Node]) -> bool:
    """True where each call of a layer has one reader, and these are all the calls of one normalisation."""
    if not readers or readers[0].op != "call_module":
        return False
    norm = traced.get_submodule(str(readers[0].target))
    return (
        isinstance(norm, Normalisation)
        and norm.running_mean is not None  # else it goes by the batch, even in eval mode
        and all(len(call.users) == 1 for call in calls)
        and set(readers) == set(_calls(traced, str(readers[0].target)))
    )


def _fold(traced: fx.GraphModule, target: str, readers: list[fx.Node]) -> None:
    """Put one layer in the place of a layer and the normalisation that reads it."""
    norm = cast(Normalisation, traced.get_submodule(str(readers[0].target)))
    path, _, name = target.rpartition(".")
    setattr(traced.get_submodule(path), name, _fused(traced.get_submodule(target), norm))
    for reader in readers:
        reader.replace_all_uses_with(cast(fx.Node, reader.args[0]))
        traced.graph.erase_node(reader)


@torch.no_grad()
def _fused(layer: nn.Module, norm: Normalisation) -> nn.Module:
    """In double precision, so that the only rounding is that of the result."""
    dtype = next(layer.parameters()).dtype
    layer, norm = layer.double(), norm.double()
    if not norm.affine:  # torch's fusion wants a weight and a bias
        norm.weight = nn.Parameter(torch.ones_like(cast(torch.Tensor, norm.running_var)))
        norm.bias = nn.Parameter(torch.zeros_like(cast(torch.Tensor, norm.running_var)))
    if isinstance(layer, nn.Conv2d):
        return fuse_conv_bn_eval(layer, norm).to(dtype)
    return fuse_linear_bn_eval(cast(nn.Linear, layer), norm).to(dtype)
