"""torchreid's ``FeatureExtractor``, for programs that were written for torchreid."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reidhub.cache.store import Cache
from reidhub.devices import find_device
from reidhub.download.fetch import fetch
from reidhub.errors import UsageError
from reidhub.inference import Embedder
from reidhub.models import build
from reidhub.models.base import ReidModel
from reidhub.weights import CLASSIFIER, count_classes, load_backbone, load_weights, read_cached_weights, read_weights
from reidhub.weights.load import build_with_weights
from reidhub.zoo.checkpoint import InputSpec, Interpolation
from reidhub.zoo.manifest import zoo

__all__ = ["FeatureExtractor"]

_log = logging.getLogger(__name__)


class FeatureExtractor:
    """Computes embeddings of images like ``torchreid.utils.FeatureExtractor``, with the same arguments.

    Two things differ, because torchreid can give useless embeddings without an error. A ``model_path`` must exist and
    fit the architecture exactly. Without a ``model_path``, torchreid takes ImageNet weights; this class takes the
    architecture's default checkpoint of the zoo.

    Args:
        model_name: name of an architecture, such as ``osnet_x1_0``.
        model_path: a checkpoint file of this architecture; its classifier may have any number of classes. Empty for
            the architecture's default checkpoint, for most architectures the one with the tag ``msmt17``.
        image_size: (height, width) in pixels to which images are resized, with the filter of the architecture in the
            zoo: bilinear for all architectures of torchreid.
        pixel_mean: mean of the channels R, G, B, in [0, 1].
        pixel_std: standard deviation of the channels R, G, B, in [0, 1].
        pixel_norm: False to leave the pixels in [0, 1], without ``pixel_mean`` and ``pixel_std``.
        device: ``cpu``, ``cuda`` or a certain GPU such as ``cuda:1``.
        verbose: name the model and its weights in the log.

    Attributes:
        device: the device on which the model runs.

    Raises:
        UsageError: no architecture has this name; no ``model_path`` is given, and the zoo has only ImageNet weights of
            the architecture; the architecture cannot take this image size; or there is no such device.
        FetchError: no source gave the default checkpoint.
        WeightsError: the file does not hold the weights of this architecture.
    """

    def __init__(
        self,
        model_name: str = "",
        model_path: Path | str = "",
        image_size: Sequence[int] = (256, 128),
        pixel_mean: Sequence[float] = (0.485, 0.456, 0.406),
        pixel_std: Sequence[float] = (0.229, 0.224, 0.225),
        pixel_norm: bool = True,
        device: torch.device | str = "cuda",
        verbose: bool = True,
    ) -> None:
        self.device = find_device(device)
        model, cached = (_load_file(model_name, model_path), None) if model_path else _load_default(model_name)
        height, width = _check_size(image_size, model.eval())
        (r, g, b), (std_r, std_g, std_b) = (pixel_mean, pixel_std) if pixel_norm else ((0, 0, 0), (1, 1, 1))
        spec = InputSpec(height, width, (r, g, b), (std_r, std_g, std_b), _find_filter(model_name))
        self._embed = Embedder.of_model(model.to(self.device), spec, cached=cached)
        if verbose:
            _log.info("%s with the weights of %s", model_name, model_path or "its default checkpoint")

    def __call__(self, input: Any) -> Tensor:
        """Embed one image or several.

        Args:
            input: a path, a uint8 array (H, W, 3) in RGB, or a list of these; or a tensor (N, 3, H, W) or (3, H, W) of
                the size ``image_size``, normalised float32, or uint8 in RGB.

        Returns:
            float32 (N, D), not normalised, on the model's device.

        Raises:
            UsageError: an image has another shape or dtype.
            DatasetError: a file cannot be decoded.
        """
        single = isinstance(input, Tensor) and input.ndim == 3
        return self._embed(input[None] if single else input).to(self.device)


def _find_filter(name: str) -> Interpolation:
    """Return the filter for resizing of an architecture of the zoo; ``bilinear``, as in torchreid, for any other."""
    architecture = zoo().architecture(name)
    return architecture.input.interpolation if architecture else "bilinear"


def _load_default(name: str) -> tuple[ReidModel, Path]:
    """Load the default checkpoint of an architecture; return the model and the checkpoint's file in the cache."""
    build(name, device="meta")  # raises an error unless it is the name of an architecture
    [checkpoint] = zoo().find(name)
    if not checkpoint.for_reid:
        raise UsageError(
            f"{name} means {checkpoint.name}: ImageNet weights, which cannot tell people apart",
            hint="give a model_path, or choose another architecture: `reidhub list '*.msmt17*'`",
        )
    path = fetch(checkpoint, Cache())
    return build_with_weights(checkpoint, read_cached_weights(path, checkpoint.layout)), path


def _load_file(name: str, path: Path | str) -> ReidModel:
    """Load the weights of a file strictly; a classifier may be missing, because embeddings do not need it."""
    tensors = read_weights(path)
    classes = count_classes(tensors)
    model = build(name, classes or 1)
    if classes:
        load_weights(model, tensors, what=str(path))
    else:
        load_backbone(model, tensors, what=str(path), head=(CLASSIFIER,))
    return model


def _check_size(image_size: Sequence[int], model: ReidModel) -> tuple[int, int]:
    """Return (height, width) if the model can take images of this size."""
    if isinstance(image_size, int) or len(image_size) != 2:
        raise UsageError(f"image_size is (height, width), got {image_size}")
    height, width = image_size
    if (height, width) != model.input_size:
        try:
            with torch.no_grad():
                model(torch.zeros(1, 3, height, width))
        except RuntimeError as error:
            raise UsageError(f"the model cannot take images of {height} x {width} pixels: {error}") from error
    return height, width
