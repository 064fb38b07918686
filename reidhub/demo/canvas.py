"""Shapes with soft edges on a small image, in arithmetic that rounds alike on every machine.

Only +, -, *, /, comparisons and square roots are used, element by element: IEEE 754 fixes every bit of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
Colour = tuple[float, float, float]  # RGB in [0, 255]
Point = tuple[float, float]  # (x, y) in units of the frame: x right, y down


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the unit square lies on the image: (x, y) is at pixel (left + scale * x, top + scale * y)."""

    left: float
    top: float
    scale: float


class Canvas:
    """An image under the brush.

    Args:
        pixels: float64 (3, H, W) in [0, 255]; painted on in place.
        frame: the coordinates all shapes are given in.
    """

    def __init__(self, pixels: NDArray[np.float64], frame: Frame) -> None:
        self.pixels = pixels
        self.scale = frame.scale
        _, height, width = pixels.shape
        self.x: Plane = ((np.arange(width, dtype=np.float64) + 0.5 - frame.left) / frame.scale)[None, :]  # (1, W)
        self.y: Plane = ((np.arange(height, dtype=np.float64) + 0.5 - frame.top) / frame.scale)[:, None]  # (H, 1)

    def paint(self, coverage: Plane, colour: Colour) -> None:
        """Lay a colour over the pixels as far as ``coverage`` (H, W) in [0, 1] says."""
        self.pixels += coverage * (np.reshape(colour, (3, 1, 1)) - self.pixels)

    def ellipse(self, centre: Point, radii: Point) -> Plane:
        """Coverage of an ellipse along the axes."""
        x, y = (self.x - centre[0]) / radii[0], (self.y - centre[1]) / radii[1]
        return self._soft((1 - np.sqrt(x * x + y * y)) * min(radii))

    def limb(self, start: Point, end: Point, radii: Point) -> Plane:
        """Coverage of a line with round ends, ``radii[0]`` thick at the start and ``radii[1]`` at the end."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        x, y = self.x - start[0], self.y - start[1]
        along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1)
        x, y = x - along * dx, y - along * dy
        return self._soft(radii[0] + along * (radii[1] - radii[0]) - np.sqrt(x * x + y * y))

    def trapezium(self, top: float, bottom: float, centre: float, halves: Point) -> Plane:
        """Coverage of a shape as wide as ``2 * halves[0]`` at the top and ``2 * halves[1]`` at the bottom."""
        share = np.clip((self.y - top) / (bottom - top), 0, 1)
        side = halves[0] + share * (halves[1] - halves[0]) - np.abs(self.x - centre)
        return self._soft(np.minimum(side, np.minimum(self.y - top, bottom - self.y)))

    def _soft(self, inside: Plane) -> Plane:
        """Coverage from the distance to the edge, positive inside."""
        return np.clip(inside * self.scale + 0.5, 0, 1)
