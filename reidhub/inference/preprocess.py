"""Preprocessing as the published models need it: decode, resize, divide by 255, subtract the mean, divide by std.

PIL decodes the images to 8-bit RGB, and resizes them with its antialiased filter, bilinear or bicubic. Other ways give
other pixels and lower scores: OpenCV, resizing of float tensors, BGR, or swapped height and width.
`reidhub.inference.fast_jpeg` is faster than PIL; images that would get other pixels than PIL's are left to PIL.
"""

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reidhub.errors import UsageError
from reidhub.inference import fast_jpeg
from reidhub.inference.decoding import Rgb, decode, find_size, make_array, make_image, read_file
from reidhub.zoo.checkpoint import InputSpec, Interpolation

_IMAGENET_SHORT_SIDE, _IMAGENET_CROP = 256, 224  # used for every published ImageNet figure of the zoo
_OVERSHOOT = 0.5  # sharp ways of resizing leave the range from 0 to 1, by less than this
_FAR_BEYOND = 16  # times the largest normalised value; noise and changed images stay below, pixels do not


@dataclass(frozen=True, slots=True)
class CentreCropSpec:
    """Preprocessing of a classifier: resize the short side, cut out the square in the middle, then (x - mean) / std.

    Args:
        short_side: length of the short side after resizing, in pixels.
        crop: side of the square in pixels, at most ``short_side``.
        mean: mean of each channel, in [0, 1].
        std: standard deviation of each channel, in [0, 1].
    """

    short_side: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def interpolation(self) -> Interpolation:
        """PIL's filter for resizing; all published ImageNet figures of the zoo use this one."""
        return "bilinear"

    @property
    def height(self) -> int:
        """Height of the result in pixels."""
        return self.crop

    @property
    def width(self) -> int:
        """Width of the result in pixels."""
        return self.crop


PixelSpec = InputSpec | CentreCropSpec
"""Preprocessing of a re-ID model or of a classifier; both have size, ``interpolation``, ``mean`` and ``std``."""


def imagenet_spec(spec: InputSpec) -> CentreCropSpec:
    """Return ImageNet's preprocessing for validation (short side 256, crop 224 x 224), with ``spec``'s mean and std."""
    return CentreCropSpec(_IMAGENET_SHORT_SIDE, _IMAGENET_CROP, spec.mean, spec.std)


@dataclass(frozen=True, slots=True, repr=False)
class Transform:
    """Preprocessing of one image; it can be pickled.

    Args:
        spec: how images are resized and normalised.
    """

    spec: PixelSpec

    def __call__(self, image: Image.Image | str | Path) -> Tensor:
        """Resize and normalise an image, or decode an image file first.

        Args:
            image: a PIL image of any mode but F and I, or the path of an image file.

        Returns:
            float32 (3, H, W), RGB.

        Raises:
            DatasetError: the image cannot be decoded.
            UsageError: the argument is neither an image nor a path.
        """
        if isinstance(image, Image.Image):
            decoded = decode(image, "the image")
        elif not isinstance(image, str | os.PathLike):
            raise UsageError(
                f"a transform takes a PIL image or a path, got {type(image).__name__}",
                hint="PIL.Image.fromarray(array) for uint8 pixels (h, w, 3) in RGB order",
            )
        else:
            decoded = decode(read_file(Path(image)), str(image))
        pixels = make_room(1, self.spec)
        resize_into(pixels.permute(0, 2, 3, 1).numpy(), {0: decoded}, self.spec)
        return normalise(pixels, self.spec)[0].contiguous()

    def __repr__(self) -> str:
        spec = self.spec
        crop = f"short side to {spec.short_side}, centre crop " if isinstance(spec, CentreCropSpec) else ""
        size = f"{spec.height}x{spec.width} {spec.interpolation}"
        return f"Transform(RGB, {crop}{size}, mean={spec.mean}, std={spec.std})"


def transform(spec: InputSpec) -> Transform:
    """Return the published preprocessing of a re-ID checkpoint: resize to height and width, without cropping."""
    return Transform(spec)


def normalise(pixels: Tensor, spec: PixelSpec) -> Tensor:
    """Normalise pixels, on their device.

    Args:
        pixels: uint8 (N, 3, H, W), RGB.
        spec: gives the mean and standard deviation.

    Returns:
        float32 (N, 3, H, W) in the memory format of ``pixels``.
    """
    return normalise_into(torch.empty_like(pixels, dtype=torch.float32), pixels, spec)


def normalise_into(out: Tensor, pixels: Tensor, spec: PixelSpec) -> Tensor:
    """Normalise pixels and write them into a tensor.

    Args:
        out: float32 (N, 3, H, W), on the device of ``pixels``, in any memory format; overwritten.
        pixels: uint8 (N, 3, H, W), RGB.
        spec: gives the mean and standard deviation.

    Returns:
        ``out``.
    """
    rows, repeats = out.permute(0, 2, 3, 1), out.shape[3]  # (N, 3, H, W) -> (N, H, W, 3)
    if rows.is_contiguous():
        rows = rows.flatten(2)  # -> (N, H, W * 3): torch is slow if the last dimension is as short as 3
    else:
        rows, repeats = out, 0
    mean, std = (_make_channels(values, repeats, out.device) for values in (spec.mean, spec.std))
    at_once = 1 if out.device.type == "cpu" else max(1, len(out))  # one image fits into a processor's cache
    for to, row, image in zip(*(torch.split(tensor, at_once) for tensor in (out, rows, pixels)), strict=True):
        to.copy_(image)
        row.div_(255).sub_(mean).div_(std)
    return out


def check_normalised(images: Tensor, spec: PixelSpec) -> None:
    """Check that a float tensor contains normalised images, not pixels from 0 to 255; other dtypes always pass.

    Args:
        images: (N, 3, H, W), on any device.
        spec: gives the mean and standard deviation.

    Raises:
        UsageError: a value is NaN or infinite, or more than 16 times the largest possible normalised value.
    """
    if not images.is_floating_point() or not images.numel():
        return
    low, high = _find_extremes(images.detach())
    if not isfinite(low) or not isfinite(high):
        raise UsageError("the float tensor has values that are NaN or infinite")
    limit = max(max(mean, 1 - mean) / std for mean, std in zip(spec.mean, spec.std, strict=True))
    if max(-low, high) > _FAR_BEYOND * limit:
        raise UsageError(
            f"a float tensor must be normalised, to at most about {limit:.1f} for this model, but its values go from "
            f"{low:.4g} to {high:.4g}",
            hint="images.byte() for pixels from 0 to 255",
        )


def check_pixels(images: Tensor) -> None:
    """Check that a float tensor contains pixels from 0 to 1, not normalised images; other dtypes always pass.

    Args:
        images: (N, 3, H, W), on any device.

    Raises:
        UsageError: a value is NaN, below -0.5 or above 1.5.
    """
    if not images.is_floating_point() or not images.numel():
        return
    low, high = _find_extremes(images.detach())
    if not -_OVERSHOOT <= low <= high <= 1 + _OVERSHOOT:
        raise UsageError(
            f"this model takes pixels from 0 to 1, but the values of the float tensor go from {low:.4g} to {high:.4g}",
            hint="images / 255 for pixels from 0 to 255; the model normalises the images itself",
        )


def _find_extremes(images: Tensor) -> tuple[float, float]:
    """Return the lowest and the highest value of some images; NaN if a value is NaN."""
    if images.device.type != "cpu":
        low, high = images.aminmax()
        return low.item(), high.item()
    # torch would start compute threads, which keep the processors busy for a while when OpenVINO starts
    extremes = np.array([(image.min(), image.max()) for image in images.numpy()])
    return float(extremes[:, 0].min()), float(extremes[:, 1].max())


@lru_cache(maxsize=64)  # copying numbers to a GPU waits for the GPU
@torch.inference_mode(False)
def _make_channels(values: tuple[float, float, float], repeats: int, device: torch.device) -> Tensor:
    """Make a float32 tensor from one value per channel (r, g, b).

    Its shape is (3, 1, 1) if ``repeats`` is 0. Otherwise its shape is (3 * repeats,): r, g, b, r, g, b, ...
    """
    channels = torch.tensor(values, dtype=torch.float32, device=device)
    return channels.repeat(repeats) if repeats else channels[:, None, None]


@torch.inference_mode(False)  # the threads that fill the tensor are not in inference mode
def make_room(count: int, spec: PixelSpec) -> Tensor:
    """Create an uninitialised tensor for pixels: uint8 (count, 3, H, W), channels last."""
    return torch.empty((count, spec.height, spec.width, 3), dtype=torch.uint8, device="cpu").permute(0, 3, 1, 2)


def resize_into(out: NDArray[np.uint8], images: Mapping[int, Rgb], spec: PixelSpec) -> None:
    """Resize images with PIL, or with `fast_jpeg.enlarge` if its pixels are exactly the same.

    Small images of the same size are enlarged together.

    Args:
        out: (N, H, W, 3); gets the pixels.
        images: each image, at its index in ``out``.
        spec: size of the result, and the filter.
    """
    bilinear = isinstance(spec, InputSpec) and spec.interpolation == "bilinear"
    small: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for place, image in images.items():
        size = find_size(image)
        if bilinear and fast_jpeg.enlarges_exactly(size, (spec.height, spec.width)):
            small[size].append(place)
        else:
            out[place] = _resize(make_image(image), spec)
    for places in small.values():
        pixels = np.stack([make_array(images[place]) for place in places])
        enlarged = fast_jpeg.enlarge(pixels, (spec.height, spec.width)).permute(0, 2, 3, 1)  # -> (n, H, W, 3)
        out[places] = enlarged.numpy()


def _resize(image: Image.Image, spec: PixelSpec) -> NDArray[np.uint8]:
    """Resize an RGB image with PIL to pixels (H, W, 3)."""
    if isinstance(spec, CentreCropSpec):
        return np.asarray(_crop_centre(image, spec))
    return np.asarray(image.resize((spec.width, spec.height), Image.Resampling[spec.interpolation.upper()]))


def _crop_centre(image: Image.Image, spec: CentreCropSpec) -> Image.Image:
    """Resize the short side and cut out the square in the middle; sizes are rounded as in torchvision."""
    width, height = image.size
    scale = spec.short_side / min(width, height)
    size = tuple(spec.short_side if side == min(width, height) else int(scale * side) for side in (width, height))
    left, top = (round((side - spec.crop) / 2) for side in size)
    resized = image.resize((size[0], size[1]), Image.Resampling[spec.interpolation.upper()])
    return resized.crop((left, top, left + spec.crop, top + spec.crop))
