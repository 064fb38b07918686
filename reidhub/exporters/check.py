"""Compares an exported file with the module that it was made from."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

from reidhub.errors import ExportError
from reidhub.inference.export_metadata import ExportMetadata
from reidhub.models.base import ReidModel
from reidhub.torch_settings import Arithmetic, limit_threads

BATCHES = (1, 2, 16)
"""Numbers of images with which a file is run; a file for one image at a time gets 16 images one by one."""

TOLERANCES = {"fp32": 1e-5, "fp16": 1e-2}
"""The largest relative error of an embedding that passes: ``|file - module| / |module|``."""


def check(run: Callable[[list[Tensor]], list[Tensor]], model: ReidModel, metadata: ExportMetadata) -> float:
    """Run an exported file, and compare its embeddings with those of the module.

    With some weights, float32 is too inexact for this comparison: the module in float32 differs from the module in
    float64 by as much as the tolerance. Therefore a file also passes if it differs from the module in float64 at most
    twice as much as the module in float32 does.

    Args:
        run: runs the file on several batches, (N, 3, H, W) -> (N, D) each.
        model: float32, in eval mode, on the CPU.
        metadata: what the file says about itself.

    Returns:
        The largest relative error of an embedding.

    Raises:
        ExportError: the file computes other embeddings.
    """
    pixels = make_pixels(metadata.height, metadata.width)
    mean, std = (torch.tensor(values)[:, None, None] for values in (metadata.mean, metadata.std))
    images = (pixels - mean) / std
    places = [slice(count) for count in BATCHES]
    if metadata.batch_size == "1":
        places = [slice(place, place + 1) for place in range(len(images))]
    found = torch.cat(run([(pixels if metadata.pixels == "0..1" else images)[place] for place in places]))
    wanted = _embed(model, images)
    error, tolerance = _measure(found, _arrange(wanted, places)), TOLERANCES[metadata.precision]
    if error <= tolerance:
        return error
    exact = _embed(copy.deepcopy(model).double(), images.double())
    rounding = _measure(wanted, exact)
    if _measure(found, _arrange(exact, places)) <= 2 * rounding:
        return error
    raise ExportError(
        f"the exported file computes other embeddings than the module: relative error {error:.1e}, at most "
        f"{tolerance:.0e} is allowed. It is not kept",
        hint="leave half out" if metadata.precision == "fp16" else None,
    )


def make_pixels(height: int, width: int) -> Tensor:
    """Make images that differ in colours, brightness and details: float32 (16, 3, H, W), in [0, 1].

    Their embeddings differ by more than every tolerance, so a file with a constant result does not pass.
    """
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(max(BATCHES), 3, 8, 4, generator=random)
    images = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    brightness = torch.linspace(0.3, 0.9, len(images))[:, None, None, None]
    return images * brightness + 0.1 * torch.rand(images.shape, generator=random)


@torch.no_grad()
def _embed(model: ReidModel, images: Tensor) -> Tensor:
    with limit_threads(), Arithmetic().on(images.device):
        embeddings: Tensor = model(images)
    return embeddings.double()


def _arrange(embeddings: Tensor, places: list[slice]) -> Tensor:
    """Return the embeddings in the order of the batches."""
    return torch.cat([embeddings[place] for place in places])


def _measure(found: Tensor, wanted: Tensor) -> float:
    """Return the largest relative error of a row; infinite for other shapes and NaN."""
    if found.shape != wanted.shape:
        return math.inf
    error = ((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max().item()
    return math.inf if math.isnan(error) else error
