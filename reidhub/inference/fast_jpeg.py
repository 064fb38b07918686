"""Decode JPEG files and enlarge images faster than PIL, but only if the pixels are exactly the same as PIL's.

PIL and torchvision both decode with libjpeg, but not always with the same release. So each process tests the decoders
once: PIL and torchvision decode small test files of each `Kind`. If all pixels are equal, this module decodes the files
of this kind. It enlarges images only to sizes for which torch and PIL both compute the filter weights without rounding.
In all other cases PIL is used: for other formats, CMYK and damaged files, to make images smaller, and for the bicubic
filter, whose weights at the edges of an image are always rounded.
"""

import importlib.util
import io
import logging
from contextlib import suppress
from functools import lru_cache
from math import gcd
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

_START, _SCAN, _ADOBE = b"\xff\xd8", 0xDA, 0xEE
_FRAMES = {0xC0: False, 0xC1: False, 0xC2: True}  # start of frame -> progressive; ITU T.81, table B.1
_SAMPLINGS = {"4:4:4": (0x11, 0x11, 0x11), "4:2:2": (0x21, 0x11, 0x11), "4:2:0": (0x22, 0x11, 0x11)}
_MOST_PIXELS = 2**24  # PIL warns about larger images and refuses much larger ones, so PIL gets them
_RGB = 3  # torchvision.io.ImageReadMode.RGB
_EXACT_BITS = 14  # fraction bits of a filter weight in torch's 8-bit resizer; PIL has 22

_log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """The properties of a file that decide which code of libjpeg decodes it.

    Args:
        progressive: True for a file of several scans.
        sampling: sampling factors of each component, as the file holds them: one for grey, three for colour.
    """

    progressive: bool
    sampling: tuple[int, ...]


KINDS = [Kind(progressive, factors) for progressive in (False, True) for factors in [(0x11,), *_SAMPLINGS.values()]]
"""The kinds that are compared with PIL; PIL decodes files of other kinds."""


def decode(data: bytes | bytearray) -> Tensor | None:
    """Decode a JPEG file.

    Returns:
        uint8 (3, H, W), RGB, channels last. None if this module does not decode the file; the caller then uses PIL.
    """
    kind = _read_kind(data)
    if kind is None or kind not in find_equal_kinds():
        return None
    return _decode(data)


def _decode(data: bytes | bytearray) -> Tensor | None:
    """Decode a file of any kind with torchvision; None for a damaged file."""
    try:
        return torch.ops.image.decode_jpeg.default(  # type: ignore[no-any-return]
            torch.frombuffer(bytearray(data), dtype=torch.uint8), _RGB
        )
    except RuntimeError:
        return None


def enlarges_exactly(size: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Return True if `enlarge` gives exactly the same pixels as PIL's bilinear filter.

    Args:
        size: (height, width) of the image.
        wanted: (height, width) of the result.
    """
    return resizes_equally() and all(map(_has_exact_weights, size, wanted))


def _has_exact_weights(side: int, wanted: int) -> bool:
    """Return True if torch and PIL compute every filter weight from ``side`` to ``wanted`` pixels without rounding.

    The weights are computed from distances between pixel centres. These are fractions with the denominator
    2 * wanted / gcd(side, 2 * wanted). No rounding is needed if the denominator is a power of two, at most 2**14. For
    ``wanted`` below ``side``, the result is always False.
    """
    denominator = 2 * wanted // gcd(side, 2 * wanted)
    return side == wanted or (side < wanted and denominator & -denominator == denominator <= 2**_EXACT_BITS)


def enlarge(pixels: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """Resize images of one size with the antialiased bilinear filter.

    Args:
        pixels: (N, h, w, 3).
        size: (H, W) of the result.

    Returns:
        uint8 (N, 3, H, W).
    """
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # (N, h, w, 3) -> (N, 3, h, w)
    return F.interpolate(images, size, mode="bilinear", antialias=True)  # -> (N, 3, H, W)


def _read_kind(data: bytes | bytearray) -> Kind | None:
    """Read the header of a JPEG file, which is everything before the image data, and return the file's `Kind`.

    Returns:
        None if the file is damaged, too large or not 8-bit, has other colours than grey or YCbCr, or is not coded as
        baseline or progressive JPEG with Huffman codes.
    """
    if data[:2] != _START:
        return None
    place, kind = 2, None
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != _SCAN:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in _FRAMES:
            kind = _read_frame(data[place + 4 : place + 2 + length], progressive=_FRAMES[marker])
        if (0xC0 <= marker <= 0xCF and marker not in (*_FRAMES, 0xC4)) or marker == _ADOBE:
            return None  # another coding, or colours other than YCbCr
        place += 2 + length
    return kind


def _read_frame(frame: bytes | bytearray, *, progressive: bool) -> Kind | None:
    """Return the `Kind` that a frame header describes; None if it is malformed, or the image is too large or not 8-bit.

    The header has the bits per sample, height, width, number of components, and for each component its name, sampling
    factors and table.
    """
    if len(frame) < 6 or len(frame) != 6 + 3 * frame[5]:
        return None
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    if frame[0] != 8 or not 0 < height * width <= _MOST_PIXELS:
        return None
    return Kind(progressive, tuple(frame[7::3]))


@lru_cache(maxsize=1)
def find_equal_kinds() -> frozenset[Kind]:
    """Find the kinds of JPEG files that torchvision decodes to exactly the same pixels as PIL in this process."""
    _load_decoder()
    if not hasattr(torch.ops.image, "decode_jpeg"):
        _log.info("this torchvision was built without a JPEG decoder; PIL decodes instead")
        return frozenset()
    equal = frozenset(kind for kind in KINDS if all(_decodes_equally(_make_sample(kind, seed)) for seed in range(3)))
    if len(equal) < len(KINDS):
        _log.info("PIL and torchvision decode %d of %d kinds of JPEG files to equal pixels", len(equal), len(KINDS))
    return equal


def _load_decoder() -> None:
    """Make torch know torchvision's decoder.

    Only the file with the decoder is loaded. Importing torchvision would also import all its models, which takes a
    second or more.
    """
    found = importlib.util.find_spec("torchvision")
    folder = Path(found.origin).parent if found and found.origin else None
    for library in sorted(folder.glob("image*.*")) if folder else []:  # image_stable.so, or image.so in older releases
        with suppress(OSError):
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
            return
    import torchvision.io  # noqa: F401  # registers the decoder too


def _make_sample(kind: Kind, seed: int) -> bytes:
    """Make a small JPEG file of one kind, with noise as content and an odd width."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (37 + seed, 23, 3)).astype(np.uint8)
    image = Image.fromarray(noise).resize((61, 43 + seed), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    if len(kind.sampling) == 1:
        image.convert("L").save(file, "JPEG", progressive=kind.progressive)
    else:
        name = next(name for name, factors in _SAMPLINGS.items() if factors == kind.sampling)
        image.save(file, "JPEG", subsampling=name, progressive=kind.progressive)
    return file.getvalue()


def _decodes_equally(data: bytes) -> bool:
    """Return True if torchvision decodes a file to the same pixels as PIL."""
    with Image.open(io.BytesIO(data)) as image:
        want = np.asarray(image.convert("RGB"))
    got = _decode(data)
    return got is not None and np.array_equal(got.permute(1, 2, 0).numpy(), want)


@lru_cache(maxsize=1)
def resizes_equally() -> bool:
    """Enlarge two test images with torch and with PIL on this processor; return True if all pixels are equal."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 101, 53, 3)).astype(np.uint8)
    got = enlarge(pixels, (256, 128)).permute(0, 2, 3, 1).numpy()
    wants = [np.asarray(Image.fromarray(image).resize((128, 256), Image.Resampling.BILINEAR)) for image in pixels]
    equal = np.array_equal(got, np.stack(wants))
    if not equal:
        _log.info("torch and PIL resize differently on this processor; PIL resizes")
    return equal
