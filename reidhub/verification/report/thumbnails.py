"""Small copies of images as ``data:`` URIs, so that a page holds them itself."""

import base64
import io
from pathlib import Path

from PIL import Image

BUDGET = 16 << 20
"""Bytes of JPEG that one page may hold; the whole zoo needs about half of it."""


class Thumbnails:
    """The thumbnails of one page, counted.

    Args:
        budget: bytes; images beyond it are left out.

    Attributes:
        count: thumbnails that were made.
        size: bytes of their JPEG files.
        left_out: images that the budget had no room for.
        unreadable: images that could not be read any more.
    """

    width, height = 64, 128  # pixels of the largest thumbnail; an image keeps its proportions
    quality = 70  # of the JPEG files

    def __init__(self, budget: int = BUDGET) -> None:
        self.count = self.size = self.left_out = self.unreadable = 0
        self._budget = budget
        self._files: dict[Path, bytes | None] = {}

    def uri(self, path: Path) -> str | None:
        """A ``data:`` URI of the image; None where it cannot be shown."""
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
        """The JPEG file, without any of the original's metadata; None where there is no image."""
        try:
            with Image.open(path) as image:
                small = image.convert("RGB")
            small.thumbnail((self.width, self.height), Image.Resampling.LANCZOS)
            small.info.clear()  # a comment would be written again
            file = io.BytesIO()
            small.save(file, "JPEG", quality=self.quality)
            return file.getvalue()
        except (OSError, ValueError, Image.DecompressionBombError):
            return None
