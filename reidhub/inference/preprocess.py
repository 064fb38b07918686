"""Preprocessing as the published models need it: decode, resize, divide by 255, subtract the mean, divide by std.

PIL decodes, and resizes 8-bit RGB with its antialiased bilinear filter. OpenCV, resizing of float tensors, BGR, or
swapped height and width give other pixels and lower scores. `reidhub.inference.fast_jpeg` is faster than PIL; it is
used only for images for which it gives exactly the same pixels as PIL.
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

_AHEAD = 2  # chunks that are decoded in advance; more would only take memory
_CHUNK = 16  # fewest images for one chunk: handing work to threads takes as long as decoding one image
_IMAGENET_SHORT_SIDE, _IMAGENET_CROP = 256, 224  # used for every published ImageNet figure of the zoo


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
    def height(self) -> int:
        """Height of the result in pixels."""
        return self.crop

    @property
    def width(self) -> int:
        """Width of the result in pixels."""
        return self.crop


PixelSpec = InputSpec | CentreCropSpec
"""Preprocessing of a re-ID model or of a classifier; both have ``height``, ``width``, ``mean`` and ``std``."""


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
            image: a PIL image of any mode, or the path of an image file.

        Returns:
            float32 (3, H, W), RGB.

        Raises:
            DatasetError: the file cannot be decoded.
        """
        pixels = _make_room(1, self.spec)
        if isinstance(image, Image.Image):
            pixels[0] = _resize(image, self.spec)
        else:
            _fill(pixels, [Path(image)], self.spec)
        return normalise(pixels, self.spec)[0].contiguous()

    def __repr__(self) -> str:
        spec = self.spec
        crop = f"short side to {spec.short_side}, centre crop " if isinstance(spec, CentreCropSpec) else ""
        return f"Transform(RGB, {crop}{spec.height}x{spec.width} bilinear, mean={spec.mean}, std={spec.std})"


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


@lru_cache(maxsize=64)  # copying numbers to a GPU waits for the GPU
@torch.inference_mode(False)
def _make_channels(values: tuple[float, float, float], repeats: int, device: torch.device) -> Tensor:
    """Make a tensor (3, 1, 1) of the values of the three channels.

    If ``repeats`` is above 0, the tensor is (3 * repeats,) instead: the three values, ``repeats`` times in a row.
    """
    channels = torch.tensor(values, dtype=torch.float32, device=device)
    return channels.repeat(repeats) if repeats else channels[:, None, None]


def load_batches(
    paths: Sequence[Path | str], spec: PixelSpec, batch_size: int, workers: int = 2
) -> Iterator[tuple[Tensor, Tensor]]:
    """Decode and resize images in order, a few batches in advance.

    Each file is opened once, and memory does not grow with the number of images.

    Args:
        paths: image files.
        spec: size of the result; the pixels are not normalised yet.
        batch_size: images per batch, above 0; the last batch may have fewer.
        workers: threads that decode, above 0.

    Yields:
        uint8 (N, 3, H, W) in channels-last memory format, and the images' indices in ``paths``, int64 (N,).

    Raises:
        DatasetError: a file cannot be decoded.
        ValueError: ``batch_size`` or ``workers`` is below 1.
    """
    if batch_size < 1 or workers < 1:
        raise ValueError(f"batch_size and workers must be above 0, got {batch_size} and {workers}")
    return _decode_ahead([Path(path) for path in paths], spec, batch_size, workers)


def _decode_ahead(
    paths: Sequence[Path], spec: PixelSpec, batch_size: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
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
    """The pixels of a few batches. Several threads decode the images; each thread gets some consecutive images.

    Args:
        pixels: uint8 (N, 3, H, W).
        start: index of the first image in the list of all paths.
        runs: one future per thread; it is done when the thread has decoded its images.
    """

    pixels: Tensor
    start: int
    runs: list["Future[None]"]

    @classmethod
    def begin(
        cls, pool: ThreadPoolExecutor, paths: Sequence[Path], spec: PixelSpec, workers: int, start: int
    ) -> "_Chunk":
        """Start to decode the images in the threads of the pool; return before they are decoded."""
        pixels = _make_room(len(paths), spec)
        run = -(-len(paths) // workers)
        runs = [
            pool.submit(_fill, pixels[first : first + run], paths[first : first + run], spec)
            for first in range(0, len(paths), run)
        ]
        return cls(pixels, start, runs)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Wait until this chunk is decoded; then yield its pixels and indices in batches, as `load_batches` does."""
        for run in self.runs:
            run.result()
        places = torch.arange(self.start, self.start + len(self.pixels), device="cpu")
        yield from zip(torch.split(self.pixels, batch_size), torch.split(places, batch_size), strict=True)


@torch.inference_mode(False)  # the threads that fill the tensor are not in inference mode
def _make_room(count: int, spec: PixelSpec) -> Tensor:
    """Create an uninitialised tensor for pixels: uint8 (count, 3, H, W), channels last."""
    return torch.empty((count, spec.height, spec.width, 3), dtype=torch.uint8, device="cpu").permute(0, 3, 1, 2)


def _fill(rows: Tensor, paths: Sequence[Path], spec: PixelSpec) -> None:
    """Decode files into ``rows`` (N, 3, H, W); small images of the same size are enlarged together at the end."""
    waiting: defaultdict[tuple[int, ...], dict[int, NDArray[np.uint8]]] = defaultdict(dict)
    files = [_read(path) for path in paths]  # read all files first: decoding is slower right after a system call
    for place, (path, file) in enumerate(zip(paths, files, strict=True)):
        image = _decode(path, file)
        if isinstance(image, Image.Image):
            rows[place] = _resize(image, spec)
        elif isinstance(spec, InputSpec) and fast_jpeg.enlarges_exactly(image.shape[:2], (spec.height, spec.width)):
            waiting[image.shape][place] = image
        else:
            rows[place] = _resize(Image.fromarray(image), spec)
    for images in waiting.values():
        _enlarge(images, rows)


def _enlarge(images: dict[int, NDArray[np.uint8]], rows: Tensor) -> None:
    """Enlarge images (h, w, 3) of one size and write each into its row of ``rows`` (N, 3, H, W)."""
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
    """Decode a file to RGB: an array (h, w, 3), or a PIL image if PIL decoded it."""
    try:
        pixels = fast_jpeg.decode(file)
        if pixels is not None:
            return pixels.permute(1, 2, 0).numpy()  # (3, h, w) -> (h, w, 3)
        with Image.open(io.BytesIO(file)) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what PIL's decoders raise
        reason = "it is no image" if isinstance(error, UnidentifiedImageError) else error
        raise DatasetError(f"{path} cannot be decoded: {reason}") from error


def _resize(image: Image.Image, spec: PixelSpec) -> Tensor:
    """Resize an image to RGB pixels (3, H, W); the orientation in EXIF data is ignored, as in the published work."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if isinstance(spec, CentreCropSpec):
        resized = _crop_centre(rgb, spec)
    else:
        resized = rgb.resize((spec.width, spec.height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)


def _crop_centre(image: Image.Image, spec: CentreCropSpec) -> Image.Image:
    """Resize the short side and cut out the square in the middle; sizes are rounded as in torchvision."""
    width, height = image.size
    scale = spec.short_side / min(width, height)
    size = tuple(spec.short_side if side == min(width, height) else int(scale * side) for side in (width, height))
    left, top = (round((side - spec.crop) / 2) for side in size)
    resized = image.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + spec.crop, top + spec.crop))
