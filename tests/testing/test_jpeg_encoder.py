"""The JPEG encoder: its files decode with Pillow to nearly the same pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from reidhub.testing import encode_jpeg


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        return np.asarray(image).astype(int)


def waves(u: int, v: int) -> np.ndarray:
    """One frequency alone in every 8x8 block: all its other coefficients are zeros."""
    y, x = np.mgrid[:64, :32]
    grey = 128 + 100 * np.cos((2 * (y % 8) + 1) * u * np.pi / 16) * np.cos((2 * (x % 8) + 1) * v * np.pi / 16)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("u, v", [(0, 0), (0, 1), (5, 2), (0, 7), (7, 0), (7, 7)])
def test_runs_of_zeros_of_every_length_decode(u, v):
    pixels = waves(u, v)
    assert np.abs(decoded(encode_jpeg(pixels)) - pixels).max() <= 12


@pytest.mark.parametrize("grain", [0, 40, 400])
def test_pillow_decodes_an_image_close_to_the_encoded_one(grain):
    y, x = np.mgrid[:128, :64]
    noise = grain * (np.random.RandomState(1).random_sample((128, 64, 3)) - 0.5)
    pixels = np.clip(np.stack([y, 2 * x, 255 - x - y], axis=-1) + noise, 0, 255).astype(np.uint8)
    error = decoded(encode_jpeg(pixels)) - pixels
    assert np.sqrt((error**2).mean()) < 5


def test_an_image_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="multiples of 8"):
        encode_jpeg(np.zeros((12, 8, 3), dtype=np.uint8))
