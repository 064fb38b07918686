"""Makes images for the embedder from inputs: files, images in archives and behind addresses, and boxes of images."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import groupby
from pathlib import Path

from reidhub.errors import DatasetError
from reidhub.inference.boxes import Box, cut_boxes
from reidhub.inference.decoding import Rgb, decode, find_size
from reidhub.inference.images import ImageLike, LazyImage
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.inputs.parquet_files import ImageRows
from reidhub.retrieval.inputs.storage import is_address, read, read_part

_Read = Callable[[], bytes]


def open_images(inputs: Iterable[Input]) -> Iterator[ImageLike | LazyImage]:
    """Yield an image for each input, in order.

    Most images are read when the embedder loads them. The images of a Parquet file are read when they are yielded,
    because its rows come in batches. Consecutive boxes of one image are cut from a frame that is read and decoded once.
    """
    for container, group in groupby(inputs, lambda given: given.container):
        if container is not None and not container.lower().endswith(".tar"):
            yield from _open_rows(container, group)
        else:
            yield from _open_group((given, _find_reader(given)) for given in group)


def _open_rows(path: str, inputs: Iterable[Input]) -> Iterator[ImageLike | LazyImage]:
    try:
        rows = ImageRows(path)
    except DatasetError as error:
        yield from _open_group((given, partial(_fail, error)) for given in inputs)
        return
    with closing(rows):
        yield from _open_group((given, _read_row(rows, given.position)) for given in inputs)


def _read_row(rows: ImageRows, row: int) -> _Read:
    """Read a row now; return a function that returns its bytes, or raises the error that reading it gave."""
    try:
        return partial(_give, rows.read(row))
    except DatasetError as error:
        return partial(_fail, error)


def _find_reader(given: Input) -> _Read | None:
    """Return a function that reads an image; None for a local file, which the embedder reads fastest itself."""
    if given.container is not None:
        return partial(read_part, given.container, given.position, given.size)
    if given.box is None and given.size >= 0 and not is_address(given.path):
        return None
    return partial(read, given.path)


def _open_group(inputs: Iterable[tuple[Input, _Read | None]]) -> Iterator[ImageLike | LazyImage]:
    frame: _Frame | None = None
    for given, reader in inputs:
        if reader is None:
            frame = None
            yield Path(given.path)
        elif given.box is None:
            frame = None
            yield _WholeImage(given.path, reader)
        else:
            if frame is None or frame.name != given.path:
                frame = _Frame(given.path, reader)
            yield _CutImage(frame, given.box)


class _WholeImage(LazyImage):
    """An image with a function that reads its encoded bytes."""

    def __init__(self, name: str, read_bytes: _Read) -> None:
        self.name = name
        self._read = read_bytes

    def load(self) -> Rgb:
        return decode(self._read(), self.name)


class _Frame:
    """An image from which several boxes are cut; it is read and decoded once, for the first box.

    Each box holds the frame until the box is loaded. So the pixels are freed after the last box.
    """

    def __init__(self, name: str, read_bytes: _Read) -> None:
        self.name = name
        self._image = _WholeImage(name, read_bytes)
        self._lock = threading.Lock()
        self._result: Rgb | DatasetError | None = None

    def load(self) -> Rgb:
        with self._lock:
            if self._result is None:
                try:
                    self._result = self._image.load()
                except DatasetError as error:
                    self._result = error
        if isinstance(self._result, DatasetError):
            raise DatasetError(self._result.message, hint=self._result.hint)
        return self._result


class _CutImage(LazyImage):
    """One box of a frame."""

    def __init__(self, frame: _Frame, box: Box) -> None:
        self.name = f"{frame.name}, box ({', '.join(f'{edge:g}' for edge in box)})"
        self._box = box
        self._frame: _Frame | None = frame

    def load(self) -> Rgb:
        frame, self._frame = self._frame, None  # loaded once; then the frame is held by its other boxes alone
        if frame is None:
            raise RuntimeError(f"{self.name} was loaded twice")
        pixels = frame.load()
        (crop,) = cut_boxes(pixels, [self._box], "rgb", "nan")
        if crop is None:
            height, width = find_size(pixels)
            raise DatasetError(f"{self.name} has no pixels in the image of {width} x {height}")
        return crop.copy()  # a view would hold the whole frame


def _give(content: bytes) -> bytes:
    return content


def _fail(error: DatasetError) -> bytes:
    raise DatasetError(error.message, hint=error.hint)
