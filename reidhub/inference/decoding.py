"""RGB pixels of image files, PIL images and arrays.

PIL decodes files and converts colours. `reidhub.inference.fast_jpeg` decodes JPEG files faster where its pixels are
equal to PIL's, bit for bit. The orientation in EXIF data is ignored, as in the published work.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from reidhub.errors import DatasetError, UsageError
from reidhub.inference import fast_jpeg
from reidhub.thread_locks import make_fork_safe_lock

Rgb = Image.Image | NDArray[np.uint8]
"""A decoded image: a PIL image of mode RGB, or an array (h, w, 3) with any strides."""

_SIXTEEN_BITS = 257  # 65535 / 255
_loading = make_fork_safe_lock()  # PIL reads a user's image at first use; two threads must not do that together
_SIXTEEN_BIT_FILES = ("PNG", "PPM")  # formats whose 16-bit grey values PIL also gives as mode I


def read_file(path: Path) -> bytes:
    """Read an image file.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error


def decode(image: bytes | Image.Image, name: str) -> Rgb:
    """Decode an image to RGB.

    Args:
        image: the content of an image file, or a PIL image of any mode but F and I. Mode I is accepted if
            PIL has read the image from a PNG or PPM file, because its pixels then have 16 bits.
        name: the image's name in error messages.

    Raises:
        DatasetError: the image is damaged, is no image, has no pixels, or has 32-bit pixels (mode F or I).
    """
    try:
        if not isinstance(image, Image.Image):
            return _decode_file(image)
        with _loading:
            image.load()
        return _convert(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what PIL's decoders raise
        reason = "it is no image" if isinstance(error, UnidentifiedImageError) else error
        raise DatasetError(f"{name} cannot be decoded: {reason}") from error


def _decode_file(content: bytes) -> Rgb:
    pixels = fast_jpeg.decode(content)
    if pixels is not None:
        return pixels.permute(1, 2, 0).numpy()  # (3, h, w) -> (h, w, 3)
    with Image.open(io.BytesIO(content)) as image:
        return _convert(image)


def _convert(image: Image.Image) -> Rgb:
    """Convert a PIL image to RGB with PIL, but divide 16-bit grey values by 257.

    PIL would set all values above 255 to 255, so that most pixels of a 16-bit image become white.

    Raises:
        ValueError: the image has no pixels, or 32-bit pixels (mode F or I).
    """
    image.load()
    if 0 in image.size:
        raise ValueError(f"it has no pixels: its size is {image.width} x {image.height}")
    if image.mode == "F" or (image.mode == "I" and image.format not in _SIXTEEN_BIT_FILES):
        kind = "float pixels" if image.mode == "F" else "32-bit pixels"
        raise ValueError(f"it has {kind} (mode {image.mode}), and their range is unknown")
    if image.mode.startswith("I"):
        return view_rgb(np.asarray(image).clip(0, 65535).astype(np.uint16), "the image")
    return image if image.mode == "RGB" else image.convert("RGB")


def view_rgb(pixels: NDArray[Any], name: str, order: str = "RGB") -> NDArray[np.uint8]:
    """Return an array as RGB; 8-bit pixels are not copied (the result is a view), 16-bit pixels are converted.

    Args:
        pixels: uint8 (h, w), (h, w, 1), (h, w, 3) RGB or (h, w, 4) RGBA, or uint16 (h, w) or (h, w, 1); any strides.
        name: the array's name in error messages.
        order: the order of channels that error messages ask for; the channels are returned as they are.

    Returns:
        uint8 (h, w, 3). Alpha is dropped, grey fills the three channels, 16-bit values are divided by 257 and rounded
        down.

    Raises:
        UsageError: the array has another shape or dtype, or no pixels.
    """
    grey = pixels.ndim == 2 or pixels.shape[2:] == (1,)
    sixteen_bits = pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2
    colour = pixels.ndim == 3 and pixels.shape[2] in (3, 4)
    if not (grey and (sixteen_bits or pixels.dtype == np.uint8)) and not (colour and pixels.dtype == np.uint8):
        raise UsageError(
            f"{name} is an array of {pixels.dtype} {pixels.shape}; pixels are uint8, (height, width, 3) in {order} "
            "order, or grey (height, width)",
            hint=_suggest_array(pixels),
        )
    if pixels.size == 0:
        raise UsageError(f"{name} has no pixels: its shape is {pixels.shape}")
    eight_bits: NDArray[np.uint8] = (pixels // _SIXTEEN_BITS if sixteen_bits else pixels).astype(np.uint8, copy=False)
    if grey:
        return np.broadcast_to(eight_bits.reshape(*pixels.shape[:2], 1), (*pixels.shape[:2], 3))
    return eight_bits[..., :3]


def _suggest_array(pixels: NDArray[Any]) -> str | None:
    """Return a hint: code that corrects the array, such as ``array.transpose(1, 2, 0)``; None without a hint."""
    if pixels.dtype.kind == "f" and pixels.ndim == 4:
        return "torch.from_numpy(array) for images that are already normalised"
    if pixels.dtype.kind == "f":
        return "array.astype('uint8') for values from 0 to 255, (array * 255).astype('uint8') for values from 0 to 1"
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3):
        return "array.transpose(1, 2, 0)"
    return None


def make_image(rgb: Rgb) -> Image.Image:
    """Return the image as a PIL image of mode RGB."""
    if isinstance(rgb, Image.Image):
        return rgb
    height, width, _ = rgb.shape
    order = "RGB"
    if rgb.strides[2] < 0:  # a view of BGR pixels: PIL swaps channels much faster than NumPy
        rgb, order = rgb[..., ::-1], "BGR"
    return Image.frombuffer("RGB", (width, height), np.ascontiguousarray(rgb), "raw", order, 0, 1)


def make_array(rgb: Rgb) -> NDArray[np.uint8]:
    """Return the image as an array (h, w, 3).

    A view of a BGR array (negative stride of the channels) is copied with PIL, which is much faster than NumPy.
    """
    if isinstance(rgb, Image.Image) or rgb.strides[2] < 0:
        return np.asarray(make_image(rgb))
    return rgb


def find_size(rgb: Rgb) -> tuple[int, int]:
    """Return the height and width of an image."""
    return (rgb.height, rgb.width) if isinstance(rgb, Image.Image) else (rgb.shape[0], rgb.shape[1])
