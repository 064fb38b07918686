"""Makes thumbnails as ``data:`` URIs, which contain the image itself."""

import base64
import io
from pathlib import Path

from PIL import Image

from reidhub.errors import ReidhubError
from reidhub.inference.boxes import Box, cut_boxes
from reidhub.inference.decoding import make_image

BUDGET = 16 << 20
"""Largest total size of a page's JPEG files, in bytes; a page with the whole zoo needs about half of it."""


class Thumbnails:
    """Makes the thumbnails of one page and counts them.

    Args:
        budget: largest total size of the JPEG files, in bytes. An image that does not fit any more is left out.

    Attributes:
        count: number of thumbnails.
        size: total bytes of the JPEG files of the thumbnails.
        left_out: number of images that were left out because of the budget.
        unreadable: number of images that could not be read.
    """

    width, height = 64, 128  # pixels of the largest thumbnail; an image keeps its proportions
    quality = 70  # quality of the JPEG files, as Pillow counts it

    def __init__(self, budget: int = BUDGET) -> None:
        self.count = self.size = self.left_out = self.unreadable = 0
        self._budget = budget
        self._files: dict[tuple[Path, Box | None], bytes | None] = {}

    def make_uri(self, path: Path, box: Box | None = None) -> str | None:
        """Return the ``data:`` URI of an image's thumbnail; None if it is unreadable or the page gets too large.

        Args:
            path: the image.
            box: left, top, right and bottom edge of the part to show, in pixels; None for the whole image.
        """
        if (path, box) not in self._files:
            self._files[path, box] = self._compress(path, box)
        file = self._files[path, box]
        if file is None:
            self.unreadable += 1
            return None
        if self.size + len(file) > self._budget:
            self.left_out += 1
            return None
        self.count, self.size = self.count + 1, self.size + len(file)
        return "data:image/jpeg;base64," + base64.b64encode(file).decode()

    def _compress(self, path: Path, box: Box | None) -> bytes | None:
        """Return a thumbnail as a JPEG file without metadata; None if the image cannot be read."""
        small = read_small(path, box, (self.width, self.height))
        if small is None:
            return None
        file = io.BytesIO()
        small.save(file, "JPEG", quality=self.quality)
        return file.getvalue()


def read_small(path: Path, box: Box | None, size: tuple[int, int]) -> Image.Image | None:
    """Read an image, or a box of it, and make it smaller.

    Args:
        path: the image.
        box: left, top, right and bottom edge in pixels; None for the whole image.
        size: largest width and height in pixels; the image keeps its proportions.

    Returns:
        An RGB image without metadata; None if the image cannot be read, or if the box has no pixels in it.
    """
    try:
        with Image.open(path) as image:
            whole = image.convert("RGB")
        small = whole if box is None else cut_boxes(whole, [box], "rgb", "nan")[0]
        if small is None:
            return None
        small = make_image(small)
        small.thumbnail(size, Image.Resampling.LANCZOS)
    except (OSError, ValueError, ReidhubError, Image.DecompressionBombError):
        return None
    small.info.clear()  # else the comment of the original would be written too
    return small
