"""Makes batches of pixels from images of any kind; threads prepare the next batches while the model runs.

An image is the path of a file, a PIL image, an array (h, w, 3) of RGB pixels, or a `LazyImage`. Images are taken from
the iterable a few batches in advance, not all at once. So memory does not grow with the number of images.
"""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reidhub.errors import DatasetError, UsageError
from reidhub.inference.decoding import Rgb, decode, read_file, view_rgb
from reidhub.inference.preprocess import PixelSpec, make_room, resize_into

ImageLike = str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | NDArray[np.uint16]
"""An image: a path, a PIL image, or an array: uint8 RGB (h, w, 3) or RGBA (h, w, 4), or uint8 or uint16 grey (h, w)."""

_AHEAD = 2  # chunks that are prepared in advance; more would only take memory
_CHUNK = 16  # fewest images for one chunk: handing work to threads takes as long as decoding one image


class LazyImage(ABC):
    """An image that is read and decoded when it is needed, such as an image in an archive, or a box of a video frame.

    Attributes:
        name: the image's name in error messages.
    """

    name: str

    @abstractmethod
    def load(self) -> Rgb:
        """Read and decode the image. A thread that decodes calls this once; several threads do so at a time.

        Raises:
            DatasetError: the image cannot be read or decoded; the message has `name`.
        """


_Checked = Path | Image.Image | NDArray[np.uint8] | LazyImage


def list_images(images: ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Return the images of a collection, or a single image as a list of one.

    Raises:
        UsageError: ``images`` is neither an image nor a collection.
    """
    if isinstance(images, str | os.PathLike | Image.Image):
        return [images]
    if isinstance(images, np.ndarray) and images.dtype.kind not in "OU":  # not an array of paths
        return images if images.ndim == 4 and images.dtype.kind == "u" else [images]
    if not isinstance(images, Iterable):
        raise UsageError(f"images are paths, PIL images, uint8 arrays or one tensor, got {type(images).__name__}")
    return images


def load_batches(
    images: Iterable[ImageLike | LazyImage],
    spec: PixelSpec,
    batch_size: int,
    workers: int = 2,
    skipped: dict[int, DatasetError] | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Decode and resize images in order, a few batches in advance.

    Each file is opened once, and memory does not grow with the number of images.

    Args:
        images: the images; of any sizes and kinds.
        spec: size of the result; the pixels are not normalised yet.
        batch_size: images per batch, above 0; the last batch may have fewer, and so may others if images are skipped.
        workers: threads that decode, above 0.
        skipped: None to raise an error for an image that cannot be decoded; else the image is left out of the batches,
            and its index and error are written here.

    Yields:
        uint8 (N, 3, H, W) in channels-last memory format, N above 0, and the indices of these images, int64 (N,).

    Raises:
        DatasetError: an image cannot be decoded.
        UsageError: an image is of another kind, or its array has another dtype or shape.
        ValueError: ``batch_size`` or ``workers`` is below 1.
    """
    if batch_size < 1 or workers < 1:
        raise ValueError(f"batch_size and workers must be above 0, got {batch_size} and {workers}")
    return _decode_ahead(images, spec, batch_size, workers, skipped)


def _decode_ahead(
    images: Iterable[ImageLike | LazyImage],
    spec: PixelSpec,
    batch_size: int,
    workers: int,
    skipped: dict[int, DatasetError] | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="reidhub-decode")
    pending: deque[_Chunk] = deque()
    size = batch_size * -(-_CHUNK // batch_size)
    checked = (_check(image, f"images[{index}]") for index, image in enumerate(images))
    start = 0
    try:
        while chunk := list(islice(checked, size)):
            pending.append(_Chunk.begin(pool, chunk, spec, workers, start))
            start += len(chunk)
            if len(pending) > _AHEAD:
                yield from pending.popleft().batches(batch_size, skipped)
        while pending:
            yield from pending.popleft().batches(batch_size, skipped)
    finally:
        pool.shutdown(cancel_futures=True)


def _check(image: object, name: str) -> _Checked:
    """Check an image, and return it as a path, a PIL image, an RGB array or a `LazyImage`.

    Args:
        image: what the caller gave.
        name: the image's name in error messages.

    Raises:
        UsageError: the object is no image, or an array of another dtype or shape.
    """
    if isinstance(image, str | os.PathLike):
        return Path(image)
    if isinstance(image, Image.Image | LazyImage):
        return image
    if isinstance(image, np.ndarray):
        return view_rgb(image, name)
    raise UsageError(
        f"{name} is of type {type(image).__name__}; an image is a path, a PIL image or a uint8 array (h, w, 3)",
        hint="torch.stack makes one tensor (N, 3, H, W)" if isinstance(image, Tensor) else None,
    )


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The pixels of a few batches. Several threads decode the images; each thread gets some consecutive images.

    Args:
        pixels: uint8 (N, 3, H, W).
        start: index of the first image among all images.
        runs: one future per thread. Its result is the errors of the images that this thread could not decode, by index.
    """

    pixels: Tensor
    start: int
    runs: list["Future[dict[int, DatasetError]]"]

    @classmethod
    def begin(
        cls, pool: ThreadPoolExecutor, images: Sequence[_Checked], spec: PixelSpec, workers: int, start: int
    ) -> "_Chunk":
        """Make a chunk whose images are decoded by the threads of the pool; do not wait for these threads.

        A single image is not given to a thread. It is decoded before this method returns, because this takes less time.
        """
        pixels = make_room(len(images), spec)
        rows = pixels.permute(0, 2, 3, 1).numpy()  # NumPy writes: it starts no threads of its own
        if len(images) == 1:
            alone: Future[dict[int, DatasetError]] = Future()
            alone.set_result(_fill(rows, images, spec, start))
            return cls(pixels, start, [alone])
        run = -(-len(images) // workers)
        runs = [
            pool.submit(_fill, rows[first : first + run], images[first : first + run], spec, start + first)
            for first in range(0, len(images), run)
        ]
        return cls(pixels, start, runs)

    def batches(self, batch_size: int, skipped: dict[int, DatasetError] | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the decoded images of this chunk in batches, after waiting for the threads that decode them.

        Args:
            batch_size: largest number of images in a batch.
            skipped: gets the index and the error of each image that cannot be decoded; None to raise the first error.

        Yields:
            uint8 (N, 3, H, W), and int64 (N,): the indices of these images among all images.

        Raises:
            DatasetError: an image cannot be decoded, and ``skipped`` is None.
        """
        failed = {index: error for run in self.runs for index, error in run.result().items()}
        pixels, places = self.pixels, torch.arange(self.start, self.start + len(self.pixels), device="cpu")
        if failed:
            if skipped is None:
                raise failed[min(failed)]
            skipped.update(failed)
            kept = torch.tensor([index not in failed for index in places.tolist()], dtype=torch.bool, device="cpu")
            pixels, places = pixels[kept].contiguous(memory_format=torch.channels_last), places[kept]
        if len(places):
            yield from zip(torch.split(pixels, batch_size), torch.split(places, batch_size), strict=True)


def _fill(rows: NDArray[np.uint8], images: Sequence[_Checked], spec: PixelSpec, start: int) -> dict[int, DatasetError]:
    """Decode images into ``rows`` (N, H, W, 3).

    Args:
        rows: filled with the images.
        images: the images of these rows.
        spec: size of the images.
        start: index of the first image in the whole input.

    Returns:
        The error of each image that cannot be decoded; the key is the image's index in the whole input.
    """
    files = [_try_read(image) for image in images]  # read all files first: decoding is slower after a system call
    decoded = [
        _try_decode(file, _name(image, index))
        for index, (image, file) in enumerate(zip(images, files, strict=True), start)
    ]
    good = {place: image for place, image in enumerate(decoded) if not isinstance(image, DatasetError)}
    resize_into(rows, good, spec)
    return {start + place: image for place, image in enumerate(decoded) if isinstance(image, DatasetError)}


def _name(image: _Checked, index: int) -> str:
    """Return the name of an image in error messages: its path if that is known, else ``images[<index>]``."""
    if isinstance(image, Path):
        return str(image)
    file_name = getattr(image, "filename", "")  # of an image that PIL opened
    return f"images[{index}] ({file_name})" if file_name else f"images[{index}]"


def _try_read(image: _Checked) -> bytes | Image.Image | NDArray[np.uint8] | LazyImage | DatasetError:
    """Return the bytes of an image file if ``image`` is a path, else ``image`` itself.

    If the file cannot be read, the `DatasetError` is returned, not raised, so that the other images are still read.
    """
    try:
        return read_file(image) if isinstance(image, Path) else image
    except DatasetError as error:
        return error


def _try_decode(
    image: bytes | Image.Image | NDArray[np.uint8] | LazyImage | DatasetError, name: str
) -> Rgb | DatasetError:
    """Decode an image that `_try_read` has read.

    An array needs no decoding and is returned unchanged. If the image could not be read, ``image`` is the error of
    `_try_read`, which is returned unchanged. If the image cannot be decoded, a `DatasetError` is returned, not raised.
    """
    if isinstance(image, np.ndarray | DatasetError):
        return image
    try:
        return image.load() if isinstance(image, LazyImage) else decode(image, name)
    except DatasetError as error:
        return error
