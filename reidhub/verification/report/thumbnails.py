"""Makes thumbnails as ``data:`` URIs, which contain the image itself."""

import base64
import io
from pathlib import Path

from PIL import Image

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
        self._files: dict[Path, bytes | None] = {}

    def make_uri(self, path: Path) -> str | None:
        """Return the ``data:`` URI of an image's thumbnail; None if it is unreadable or the page gets too large."""
        if path not in self._files:
            self._files[path] = self._compress(path)
        file = self._files[path]
        if file is None:
            self.unreadable += 1
            return None
        if self.size + len(file) > self._budget:
            self.left_out += 1
            return None
        self.count, self.size = self.count + 1, self.size + len(file)
        return "data:image/jpeg;base64," + base64.b64encode(file).decode()

    def _compress(self, path: Path) -> bytes | None:
        """Return a thumbnail as a JPEG file without metadata; None if the image cannot be read."""
        try:
            with Image.open(path) as image:
                small = image.convert("RGB")
            small.thumbnail((self.width, self.height), Image.Resampling.LANCZOS)
            small.info.clear()  # else the comment of the original would be written too
            file = io.BytesIO()
            small.save(file, "JPEG", quality=self.quality)
            return file.getvalue()
        except (OSError, ValueError, Image.DecompressionBombError):
            return None
