"""Activation maps: where in an image the last feature maps of a model are large.

The definition is that of torchreid's ``visualize_actmap``, after Zagoruyko and Komodakis, "Paying More Attention to
Attention" (ICLR 2017, arXiv 1612.03928): the sum of squares over the channels, divided by the Euclidean norm of the
map, resized to the image, and stretched to the range from 0 to 255.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from reidhub.errors import DatasetError, UsageError
from reidhub.files.atomic import explain_write_errors, write_atomically
from reidhub.inference.images import load_batches
from reidhub.inference.preprocess import normalise as normalise_pixels
from reidhub.models.base import ReidModel
from reidhub.zoo.checkpoint import InputSpec

_BATCH = 16
_GAP = 10  # white columns between the three pictures
_SHARE = 0.7  # of the map in the overlay; the rest is the image


def compute_maps(feature_maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute activation maps.

    Args:
        feature_maps: floating (N, C, h, w), the last maps before global pooling.
        size: height and width of the result, in pixels.

    Returns:
        float32 (N, height, width) in [0, 255]; 0 everywhere if the activation of an image is the same everywhere.
    """
    squares = feature_maps.float().square().sum(1)  # (N, C, h, w) -> (N, h, w)
    unit = normalize(squares.flatten(1)).view_as(squares)
    maps = interpolate(unit[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return 255 * (maps - low) / (high - low + 1e-12)


def choose_files(images: list[str], folder: Path, *, force: bool = False) -> dict[str, Path]:
    """Choose the file for each image: its name with the suffix ``.png``, with a number if images share a name.

    Args:
        images: paths of the images.
        folder: the folder of the files.
        force: accept files that exist; they will be replaced.

    Returns:
        image -> file, in the order of ``images``.

    Raises:
        UsageError: a file exists.
    """
    files: dict[str, Path] = {}
    taken: set[str] = set()
    for image in images:
        stem, number = Path(image).stem, 1
        name = f"{stem}.png"
        while name.lower() in taken:  # some disks do not distinguish upper case from lower case
            number += 1
            name = f"{stem}-{number}.png"
        taken.add(name.lower())
        files[image] = folder / name
    existing = [] if force else [file for file in files.values() if file.exists()]
    if existing:
        more = f" and {len(existing) - 1} more exist" if len(existing) > 1 else " exists"
        raise UsageError(f"{existing[0]}{more}", hint="choose another folder, or replace them with --force")
    return files


def draw_activations(
    model: ReidModel, spec: InputSpec, files: Mapping[str, Path], advance: Callable[[int], object]
) -> dict[str, str]:
    """Draw the activation map of each image, and write a PNG file: the image, its map, and the map over the image.

    Args:
        model: in eval mode.
        spec: preprocessing of the model's images.
        files: image -> file to write.
        advance: called with a number of images when they have been drawn or skipped.

    Returns:
        path -> reason, for the images that cannot be read; all others are drawn.

    Raises:
        DiskFullError: the disk has no room for a file.
        UsageError: a file cannot be written for another reason.
    """
    images = list(files)
    skipped: dict[int, DatasetError] = {}
    batches = load_batches(images, spec, _BATCH, skipped=skipped)
    for place, pixels, activation in _run(model, spec, batches):
        _write(files[images[place]], _draw(pixels, activation))
        advance(1)
    advance(len(skipped))
    return {images[place]: error.message for place, error in skipped.items()}


def _run(
    model: ReidModel, spec: InputSpec, batches: Iterator[tuple[Tensor, Tensor]]
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield the index of each image, its pixels (H, W, 3), and its activation map (H, W) in [0, 255]."""
    device = next(model.parameters()).device
    for pixels, places in batches:
        with torch.inference_mode():
            maps = model.feature_maps(normalise_pixels(pixels, spec).to(device))
            drawn = compute_maps(maps, (spec.height, spec.width)).cpu().numpy()
        yield from zip(places.tolist(), pixels.permute(0, 2, 3, 1).numpy(), drawn, strict=True)


def _draw(pixels: NDArray[np.uint8], activation: NDArray[np.float32]) -> Image.Image:
    """Put the image, its map, and the map over the image side by side: (H, W, 3), (H, W) -> (H, 3 W + 20)."""
    coloured = _colour(activation)
    overlay = _SHARE * coloured + (1 - _SHARE) * pixels
    gap = np.full((len(pixels), _GAP, 3), 255)
    parts = np.concatenate([pixels, gap, coloured, gap, overlay], axis=1)
    return Image.fromarray(parts.clip(0, 255).astype(np.uint8))


def _colour(activation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colour a map (H, W): from blue (0) over green to red (255), as the colour map "jet" does; return (H, W, 3)."""
    centres = np.array([3, 2, 1], np.float32)  # quarters of the range at which red, green and blue are strongest
    strength = 1.5 - np.abs(4 * activation[..., None] / 255 - centres)
    return 255 * strength.clip(0, 1)


def _write(path: Path, picture: Image.Image) -> None:
    with explain_write_errors(f"write {path}", UsageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as file:
            picture.save(file, "PNG")
