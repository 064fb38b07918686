"""The size of plots, and their axes: pixel positions of values on an SVG canvas, and round numbers for the ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 640
"""Width of every plot, in pixels."""
LEFT, RIGHT, TOP, BOTTOM = 48, 620, 30, 330
"""Edges of the area between the axes of most plots, in pixels."""
UNDER = 44
"""Pixels below this area, for the tick numbers and the label of the axis."""

_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps the values from ``low`` to ``high`` to the pixels from ``start`` to ``end``.

    Args:
        label: name of the quantity, with its unit.
        low: smallest value.
        high: largest value; greater than ``low``.
        start: pixel position of ``low``.
        end: pixel position of ``high``; less than ``start`` on a vertical axis whose values grow upwards.
        log: True for a logarithmic axis, where ``low`` must be greater than 0.
    """

    label: str
    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel position of a value; a value outside the axis is placed at the nearer end."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + min(max((at - low) / (high - low), 0), 1) * (self.end - self.start)

    @property
    def middle(self) -> float:
        """The pixel position in the middle of the axis."""
        return (self.start + self.end) / 2

    def ticks(self) -> list[float]:
        """Return the round values at which ticks are drawn; a linear axis has at most 6."""
        if self.log:
            return self._log_ticks()
        step = round_step((self.high - self.low) / 5)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _log_ticks(self) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        ratio = self.high / self.low
        factors = (1, 1.5, 2, 3, 5, 7) if ratio < 8 else (1, 2, 5) if ratio < 1000 else (1,)
        values = [factor * 10.0**power for power in powers for factor in factors]
        return [value for value in values if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The fields that every plot has.

    Args:
        key: prefix of the ids of the plot's HTML elements; letters, digits and hyphens.
        title: what the plot shows.
        note: what the marks mean.
        description: the content of the plot in a few sentences, for screen readers.
        x: the horizontal axis; values grow to the right.
        y: the vertical axis; values grow upwards, but downwards in a `DeviationPlot`.
        height: height of the plot in pixels.
    """

    key: str
    title: str
    note: str
    description: str
    x: Axis
    y: Axis
    height: float = BOTTOM + UNDER
    width: float = WIDTH


def round_step(least: float) -> float:
    """Return the smallest round number that is greater than or equal to ``least``.

    Round numbers are 1, 2, 2.5 and 5 times a power of ten.

    Args:
        least: greater than 0.
    """
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))


def round_bounds(values: Sequence[float], least: float, low: float, high: float) -> tuple[float, float]:
    """Return the two ends of an axis: round numbers, with all values between them.

    Args:
        values: the values to show, at least one.
        least: the two ends are at least this far apart, if ``low`` and ``high`` allow it.
        low: the first end is not below this number.
        high: the second end is not above this number.
    """
    middle, width = (min(values) + max(values)) / 2, max(max(values) - min(values), least) * 1.1
    step = round_step(width / 5)
    below, above = math.floor((middle - width / 2) / step) * step, math.ceil((middle + width / 2) / step) * step
    return max(below, low), min(above, high)
