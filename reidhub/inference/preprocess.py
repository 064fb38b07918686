"""Pixels as the published models saw them: PIL decodes and resizes, then /255, mean and standard deviation.

Resizing is PIL's antialiased bilinear filter on 8-bit RGB. OpenCV, a resize of tensors, BGR or swapped height and
width give other pixels and lower scores. Where torchvision decodes a file and torch enlarges it to the same bits, they
do, some times as fast (`reidhub.inference.fast_jpeg`).
"""

import io
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from reidhub.errors import DatasetError
from reidhub.inference import fast_jpeg
from reidhub.zoo.checkpoint import InputSpec

_AHEAD = 2  # chunks decoded before they are asked for; more would only cost memory
_CHUNK = 16  # images at least that are handed to the threads at once: handing over costs as much as decoding one
_IMAGENET_SHORT_SIDE, _IMAGENET_CROP = 256, 224  # the recipe of every published ImageNet figure of the zoo


@dataclass(frozen=True, slots=True)
class CentreCropSpec:
    """What pixels a classifier wants: the short side resized, the middle square cut out, then (x - mean) / std.

    Args:
        short_side: pixels of the short side after resizing.
        crop: side of the square, at most ``short_side``.
        mean: of each channel, in [0, 1].
        std: of each channel, in [0, 1].
    """

    short_side: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def height(self) -> int:
        """Of the pixels that come out."""
        return self.crop

    @property
    def width(self) -> int:
        """Of the pixels that come out."""
        return self.crop


PixelSpec = InputSpec | CentreCropSpec
"""Either recipe; both have ``height``, ``width``, ``mean`` and ``std``."""


def imagenet_spec(spec: InputSpec) -> CentreCropSpec:
    """The recipe of ImageNet validation with the mean and standard deviation of ``spec``: 256, then 224 x 224."""
    return CentreCropSpec(_IMAGENET_SHORT_SIDE, _IMAGENET_CROP, spec.mean, spec.std)


@dataclass(frozen=True, slots=True, repr=False)
class Transform:
    """A preprocessing that can be pickled: an image, or the path of one, becomes a (3, H, W) float32 tensor."""

    spec: PixelSpec

    def __call__(self, image: Image.Image | str | Path) -> Tensor:
        """Decode where needed, resize and normalise.

        Args:
            image: a PIL image of any mode, or the path of an image file.

        Returns:
            float32 (3, H, W), RGB.

        Raises:
            DatasetError: the file is no image that can be decoded.
        """
        pixels = _empty(1, self.spec)
        if isinstance(image, Image.Image):
            pixels[0] = _resized(image, self.spec)
        else:
            _fill(pixels, [Path(image)], self.spec)
        return normalise(pixels, self.spec)[0].contiguous()

    def __repr__(self) -> str:
        spec = self.spec
        crop = f"short side to {spec.short_side}, centre crop " if isinstance(spec, CentreCropSpec) else ""
        return f"Transform(RGB, {crop}{spec.height}x{spec.width} bilinear, mean={spec.mean}, std={spec.std})"


def transform(spec: InputSpec) -> Transform:
    """The published preprocessing of a re-ID checkpoint: resized to height and width, nothing cut off."""
    return Transform(spec)


def normalise(pixels: Tensor, spec: PixelSpec) -> Tensor:
    """Make 8-bit pixels what a model wants, on the device they are on.

    Args:
        pixels: uint8 (N, 3, H, W), RGB.
        spec: gives mean and standard deviation.

    Returns:
        float32 (N, 3, H, W) in the memory format of ``pixels``.
    """
    return normalise_into(torch.empty_like(pixels, dtype=torch.float32), pixels, spec)


def normalise_into(out: Tensor, pixels: Tensor, spec: PixelSpec) -> Tensor:
    """`normalise` into a tensor of the caller's.

    Args:
        out: float32 (N, 3, H, W), on the same device and of any memory format.
        pixels: uint8 (N, 3, H, W), RGB.
        spec: gives mean and standard deviation.

    Returns:
        ``out``.
    """
    rows, repeats = out.permute(0, 2, 3, 1), out.shape[3]
    if rows.is_contiguous():
        rows = rows.flatten(2)  # -> (N, H, W * 3): torch is slow where it meets three numbers at a time
    else:
        rows, repeats = out, 0
    mean, std = (_channels(values, repeats, out.device) for values in (spec.mean, spec.std))
    at_once = 1 if out.device.type == "cpu" else max(1, len(out))  # one image stays in a processor's cache
    for to, row, image in zip(*(torch.split(tensor, at_once) for tensor in (out, rows, pixels)), strict=True):
        to.copy_(image)
        row.div_(255).sub_(mean).div_(std)
    return out


@lru_cache(maxsize=64)  # a GPU would be waited for each time that numbers are sent to it
@torch.inference_mode(False)
def _channels(values: tuple[float, float, float], repeats: int, device: torch.device) -> Tensor:
    """(3, 1, 1); where ``repeats`` is given, (3 * repeats,): channel by channel, again and again."""
    channels = torch.tensor(values, dtype=torch.float32, device=device)
    return channels.repeat(repeats) if repeats else channels[:, None, None]


def load_batches(
    paths: Sequence[Path | str], spec: PixelSpec, batch_size: int, workers: int = 2
) -> Iterator[tuple[Tensor, Tensor]]:
    """Decode images in order, a little ahead of whoever takes them.

    Each file is opened once; memory does not grow with the number of images.

    Args:
        paths: image files.
        spec: size of the pixels; normalising is left to `normalise`, on the device.
        batch_size: images per batch, above 0; the last batch may have fewer.
        workers: threads that decode, above 0.

    Yields:
        uint8 (N, 3, H, W) in channels-last memory format, and the images' places in ``paths`` (N,), int64.

    Raises:
        DatasetError: a file cannot be decoded.
        ValueError: ``batch_size`` or ``workers`` is below 1.
    """
    if batch_size < 1 or workers < 1:
        raise ValueError(f"batch_size and workers must be above 0, got {batch_size} and {workers}")
    return _batches([Path(path) for path in paths], spec, batch_size, workers)


def _batches(paths: Sequence[Path], spec: PixelSpec, batch_size: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="reidhub-decode")
    pending: deque[_Chunk] = deque()
    size = batch_size * -(-_CHUNK // batch_size)
    try:
        for start in range(0, len(paths), size):
            pending.append(_Chunk.begin(pool, paths[start : start + size], spec, workers, start))
            if len(pending) > _AHEAD:
                yield from pending.popleft().batches(batch_size)
        while pending:
            yield from pending.popleft().batches(batch_size)
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Whole batches that threads are filling: each takes a run of the rows."""

    pixels: Tensor
    start: int
    runs: list["Future[None]"]

    @classmethod
    def begin(
        cls, pool: ThreadPoolExecutor, paths: Sequence[Path], spec: PixelSpec, workers: int, start: int
    ) -> "_Chunk":
        pixels = _empty(len(paths), spec)
        run = -(-len(paths) // workers)
        runs = [
            pool.submit(_fill, pixels[first : first + run], paths[first : first + run], spec)
            for first in range(0, len(paths), run)
        ]
        return cls(pixels, start, runs)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixels and places, as `load_batches` yields them."""
        for run in self.runs:
            run.result()
        places = torch.arange(self.start, self.start + len(self.pixels), device="cpu")
        yield from zip(torch.split(self.pixels, batch_size), torch.split(places, batch_size), strict=True)


@torch.inference_mode(False)  # threads outside of the caller's mode fill it
def _empty(count: int, spec: PixelSpec) -> Tensor:
    """Room for pixels: uint8 (count, 3, H, W), channels last."""
    return torch.empty((count, spec.height, spec.width, 3), dtype=torch.uint8, device="cpu").permute(0, 3, 1, 2)


def _fill(rows: Tensor, paths: Sequence[Path], spec: PixelSpec) -> None:
    """Decode files into ``rows``; those of one size that are enlarged are enlarged together.

    What waits to be enlarged is smaller than the rows it goes to; anything else is resized at once.
    """
    waiting: defaultdict[tuple[int, ...], dict[int, NDArray[np.uint8]]] = defaultdict(dict)
    files = [_read(path) for path in paths]  # before the first is decoded: a decoder is slower behind a system call
    for place, (path, file) in enumerate(zip(paths, files, strict=True)):
        image = _decode(path, file)
        if isinstance(image, Image.Image):
            rows[place] = _resized(image, spec)
        elif isinstance(spec, InputSpec) and fast_jpeg.enlarges_exactly(image.shape[:2], (spec.height, spec.width)):
            waiting[image.shape][place] = image
        else:
            rows[place] = _resized(Image.fromarray(image), spec)
    for images in waiting.values():
        _enlarge(images, rows)


def _enlarge(images: dict[int, NDArray[np.uint8]], rows: Tensor) -> None:
    """Images (h, w, 3) of one size, each to its place."""
    enlarged = fast_jpeg.enlarge(np.stack([*images.values()]), (rows.shape[2], rows.shape[3]))
    if len(images) == len(rows):
        rows.copy_(enlarged)
        return
    for place, image in zip(images, enlarged, strict=True):
        rows[place] = image


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error


def _decode(path: Path, file: bytes) -> Image.Image | NDArray[np.uint8]:
    """The image in the bytes of a file; an array (h, w, 3) where PIL was not needed."""
    try:
        pixels = fast_jpeg.decode(file)
        if pixels is not None:
            return pixels.permute(1, 2, 0).numpy()
        with Image.open(io.BytesIO(file)) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what PIL's decoders raise
        raise _undecodable(path, error) from error


def _undecodable(path: Path, error: Exception) -> DatasetError:
    reason = "it is no image" if isinstance(error, UnidentifiedImageError) else error
    return DatasetError(f"{path} cannot be decoded: {reason}")


def _resized(image: Image.Image, spec: PixelSpec) -> Tensor:
    """RGB pixels (3, H, W) of an image; the orientation in its EXIF data is ignored, as it was when published."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if isinstance(spec, CentreCropSpec):
        resized = _centre_crop(rgb, spec)
    else:
        resized = rgb.resize((spec.width, spec.height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def _centre_crop(image: Image.Image, spec: CentreCropSpec) -> Image.Image:
    """Short side to ``short_side``, the long side cut to whole pixels, then the middle; rounded as torchvision does."""
    width, height = image.size
    scale = spec.short_side / min(width, height)
    size = tuple(spec.short_side if side == min(width, height) else int(scale * side) for side in (width, height))
    left, top = (round((side - spec.crop) / 2) for side in size)
    resized = image.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + spec.crop, top + spec.crop))
