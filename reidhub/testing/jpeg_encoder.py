"""A baseline JPEG encoder that gives the same bytes on every machine.

Different versions of libjpeg give different bytes, and one changed pixel can change a rank and a recorded score. This
encoder therefore computes with whole numbers only. It does not subsample chroma, because decoders upsample chroma
differently. Its output must never change, because the recorded scores of the demo depend on every byte.
"""

import math
import struct
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_SCALE_BITS = 13  # the integer cosine table holds cosines times 2**13
# Number of codes of each length 1..16, as in the tables of annex K of the JPEG standard (T.81).
_DC_LENGTHS = (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)
_AC_LENGTHS = (0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125)
_END_OF_BLOCK, _SIXTEEN_ZEROS = 0x00, 0xF0
# RGB -> YCbCr as JFIF defines it, times 65536.
_YCBCR = np.array([[19595, 38470, 7471], [-11059, -21709, 32768], [32768, -27439, -5329]], dtype=np.int64)


class _Code(NamedTuple):
    """A Huffman code.

    Args:
        symbols: all symbols, those with the shortest codes first.
        bits: int64 (256,): symbol -> code.
        lengths: int64 (256,): symbol -> length of the code in bits.
    """

    symbols: tuple[int, ...]
    bits: Ints
    lengths: Ints


def encode_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an image as a JPEG file of about quality 90.

    Args:
        pixels: uint8 (H, W, 3) RGB; H and W are multiples of 8.

    Raises:
        ValueError: ``pixels`` have another shape.

    Example:
        >>> import numpy as np
        >>> encode_jpeg(np.zeros((8, 16, 3), dtype=np.uint8))[:4].hex()
        'ffd8ffe0'
    """
    height, width, channels = pixels.shape
    if channels != 3 or height % 8 or width % 8:
        raise ValueError(f"expected (H, W, 3) with H and W multiples of 8, got {pixels.shape}")
    return _write_header(height, width) + _encode_scan(_compute_coefficients(pixels)) + b"\xff\xd9"


def _compute_coefficients(pixels: NDArray[np.uint8]) -> Ints:
    """Compute the quantised coefficients, int64 (blocks, 3, 64), in the order of the file.

    The blocks are in rows from left to right; the 64 coefficients of a block are in zigzag order.
    """
    height, width, _ = pixels.shape
    ycbcr = (pixels.astype(np.int64) @ _YCBCR.T + 32768 >> 16) - np.array([128, 0, 0])
    blocks = ycbcr.reshape(height // 8, 8, width // 8, 8, 3).transpose(0, 2, 4, 1, 3)
    cosines = _cosines()
    exact = cosines @ blocks.astype(np.float64) @ cosines.T  # float64 is exact for whole numbers below 2**53
    scaled = exact.astype(np.int64).reshape(-1, 3, 64)[..., _zigzag()]
    step = _quantisation() << 2 * _SCALE_BITS
    rounded: Ints = np.sign(scaled) * ((np.abs(scaled) + step // 2) // step)
    return rounded


@cache
def _cosines() -> NDArray[np.float64]:
    """Compute the matrix (8, 8) of the discrete cosine transform, times 2**13 and rounded to whole numbers."""
    rows = [
        [math.sqrt((2 if u else 1) / 8) * math.cos((2 * x + 1) * u * math.pi / 16) for x in range(8)] for u in range(8)
    ]
    return np.floor(np.array(rows) * (1 << _SCALE_BITS) + 0.5)


@cache
def _zigzag() -> Ints:
    """Return the zigzag order, int64 (64,): k-th coefficient in the file -> its index in the 8x8 block, row by row."""

    def place(index: int) -> tuple[int, int]:
        row, column = divmod(index, 8)
        return row + column, row if (row + column) % 2 else column

    return np.array(sorted(range(64), key=place), dtype=np.int64)


@cache
def _quantisation() -> Ints:
    """Return the quantisation steps, int64 (64,), in zigzag order; higher frequencies have larger steps."""
    rows, columns = np.divmod(_zigzag(), 8)
    return 2 + rows + columns


@cache
def _codes() -> tuple[_Code, _Code]:
    """Return two Huffman codes: for the symbols of DC coefficients and for those of AC coefficients.

    A DC symbol is the number of bits of the value. An AC symbol is 16 * (number of zeros before the value) + (number of
    bits of the value). Symbols with small numbers have short codes.
    """
    runs = sorted(
        (16 * run + size for run in range(16) for size in range(1, 11)), key=lambda s: (s // 16 + 2 * (s % 16), s)
    )
    ac = (0x01, _END_OF_BLOCK, *runs[1:], _SIXTEEN_ZEROS)
    return _huffman(_DC_LENGTHS, tuple(range(12))), _huffman(_AC_LENGTHS, ac)


def _huffman(counts: tuple[int, ...], symbols: tuple[int, ...]) -> _Code:
    bits, lengths = np.zeros((2, 256), dtype=np.int64)
    code, rank = 0, 0
    for length, count in enumerate(counts, start=1):
        for symbol in symbols[rank : rank + count]:
            bits[symbol], lengths[symbol] = code, length
            code += 1
        rank += count
        code <<= 1
    return _Code(symbols, bits, lengths)


def _encode_scan(coefficients: Ints) -> bytes:
    """Encode the scan, which is the image data, as a sequence of tokens.

    A token is a Huffman symbol, followed by the bits of a value. Each block has one DC token (the difference from the
    block before) and then AC tokens (values and runs of zeros).
    """
    differences = np.diff(coefficients[:, :, 0], axis=0, prepend=0).reshape(-1)
    blocks = coefficients.reshape(-1, 64)
    dc, ac = _codes()
    order, values, lengths = [], [], []
    for code, (place, symbol, value) in ((dc, _dc_tokens(differences)), (ac, _ac_tokens(blocks))):
        size = _bit_length(value)
        ones_complement = np.where(value < 0, value + (1 << size) - 1, value)
        order.append(place)
        values.append(code.bits[symbol] << size | ones_complement)
        lengths.append(code.lengths[symbol] + size)
    by_place = np.argsort(np.concatenate(order), kind="stable")
    packed = _pack(np.concatenate(values)[by_place], np.concatenate(lengths)[by_place])
    return packed.replace(b"\xff", b"\xff\x00")


def _dc_tokens(differences: Ints) -> tuple[Ints, Ints, Ints]:
    """Return sort key, symbol and value of the DC token of each block.

    Tokens sorted by their keys are in the order of the file. All keys of block i are in [256 * i, 256 * i + 255].
    """
    return np.arange(len(differences)) * 256, _bit_length(differences), differences


def _ac_tokens(blocks: Ints) -> tuple[Ints, Ints, Ints]:
    """Return sort key, symbol and value of all AC tokens; see `_dc_tokens` for the keys.

    A token is a non-zero value, a run of 16 zeros, or the end of a block. The last two have the value 0.
    """
    block, k = np.nonzero(blocks[:, 1:])
    k += 1
    value = blocks[block, k]
    first = np.diff(block, prepend=-1) != 0
    zeros = k - np.where(first, 0, np.roll(k, 1)) - 1
    long_runs = np.repeat(block * 256 + 2 * k, zeros // 16)
    last = np.zeros(len(blocks), dtype=np.int64)
    np.maximum.at(last, block, k)
    ends = np.flatnonzero(last < 63) * 256 + 255
    place = np.concatenate([block * 256 + 2 * k + 1, long_runs, ends])
    symbol = np.concatenate(
        [
            16 * (zeros % 16) + _bit_length(value),
            np.full(len(long_runs), _SIXTEEN_ZEROS),
            np.full(len(ends), _END_OF_BLOCK),
        ]
    )
    return place, symbol, np.concatenate([value, np.zeros(len(long_runs) + len(ends), dtype=np.int64)])


def _bit_length(values: Ints) -> Ints:
    """Return the number of bits of each absolute value; 0 for 0."""
    return np.searchsorted(1 << np.arange(15), np.abs(values), side="right").astype(np.int64)


def _pack(values: Ints, lengths: Ints) -> bytes:
    """Join the lowest ``lengths`` bits of each value, highest bit first, and fill the last byte with ones."""
    ends = np.cumsum(lengths)
    shifts = np.repeat(ends, lengths) - 1 - np.arange(ends[-1])
    bits = np.repeat(values, lengths) >> shifts & 1
    padding = np.ones(-len(bits) % 8, dtype=np.int64)
    return np.packbits(np.concatenate([bits, padding]).astype(np.uint8)).tobytes()


def _write_header(height: int, width: int) -> bytes:
    """Return the bytes of all segments before the scan, which is the image data."""
    dc, ac = _codes()
    components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    tables = b"".join(bytes([number, 0]) for number in (1, 2, 3))
    return b"\xff\xd8" + b"".join(
        [
            _segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"),
            _segment(0xDB, bytes([0, *_quantisation().tolist()])),
            _segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + components),
            _segment(0xC4, bytes([0x00, *_DC_LENGTHS, *dc.symbols])),
            _segment(0xC4, bytes([0x10, *_AC_LENGTHS, *ac.symbols])),
            _segment(0xDA, bytes([3]) + tables + bytes([0, 63, 0])),
        ]
    )


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
