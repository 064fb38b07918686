"""Draw shapes with soft edges on a small image; the pixels are the same on every machine.

The arithmetic uses only +, -, *, /, comparisons and square roots, element by element. The standard IEEE 754 defines
every bit of their results.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
Colour = tuple[float, float, float]  # RGB in [0, 255]
Point = tuple[float, float]  # (x, y) in units of the frame: x right, y down


@dataclass(frozen=True, slots=True)
class Frame:
    """Coordinates for drawing on an image: the point (x, y) is at pixel (left + scale * x, top + scale * y)."""

    left: float
    top: float
    scale: float


class Canvas:
    """An image to paint on.

    A shape is given by its coverage: an array (H, W) in [0, 1], the share of each pixel that the shape covers.

    Args:
        pixels: float64 (3, H, W) in [0, 255]; `paint` changes it in place.
        frame: coordinates in which all shapes are given.
    """

    def __init__(self, pixels: NDArray[np.float64], frame: Frame) -> None:
        self.pixels = pixels
        self.scale = frame.scale
        _, height, width = pixels.shape
        self.x: Plane = ((np.arange(width, dtype=np.float64) + 0.5 - frame.left) / frame.scale)[None, :]  # (1, W)
        self.y: Plane = ((np.arange(height, dtype=np.float64) + 0.5 - frame.top) / frame.scale)[:, None]  # (H, 1)

    def paint(self, coverage: Plane, colour: Colour) -> None:
        """Blend a colour into the pixels; a pixel with ``coverage`` 1 gets the colour, one with 0 does not change."""
        self.pixels += coverage * (np.reshape(colour, (3, 1, 1)) - self.pixels)

    def cover_ellipse(self, centre: Point, radii: Point) -> Plane:
        """Return the share of each pixel, in [0, 1], that an ellipse with horizontal and vertical axes covers."""
        x, y = (self.x - centre[0]) / radii[0], (self.y - centre[1]) / radii[1]
        return self._soften((1 - np.sqrt(x * x + y * y)) * min(radii))

    def cover_limb(self, start: Point, end: Point, radii: Point) -> Plane:
        """Return the share of each pixel, in [0, 1], that a line with round ends covers.

        Args:
            start: one end of the line.
            end: the other end.
            radii: half the width of the line at ``start`` and at ``end``.
        """
        dx, dy = end[0] - start[0], end[1] - start[1]
        x, y = self.x - start[0], self.y - start[1]
        along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1)
        x, y = x - along * dx, y - along * dy
        return self._soften(radii[0] + along * (radii[1] - radii[0]) - np.sqrt(x * x + y * y))

    def cover_trapezium(self, top: float, bottom: float, centre: float, halves: Point) -> Plane:
        """Return the share of each pixel, in [0, 1], that a trapezium with horizontal top and bottom covers.

        Args:
            top: y of the upper side.
            bottom: y of the lower side.
            centre: x of the middle.
            halves: half the length of the upper side and of the lower side.
        """
        share = np.clip((self.y - top) / (bottom - top), 0, 1)
        side = halves[0] + share * (halves[1] - halves[0]) - np.abs(self.x - centre)
        return self._soften(np.minimum(side, np.minimum(self.y - top, bottom - self.y)))

    def _soften(self, inside: Plane) -> Plane:
        """Return the share of each pixel, in [0, 1], that a shape covers.

        Args:
            inside: for each pixel, the distance of its centre to the edge of the shape, in coordinates of the frame;
                positive inside the shape, negative outside. Pixels at the edge get values between 0 and 1.
        """
        return np.clip(inside * self.scale + 0.5, 0, 1)
