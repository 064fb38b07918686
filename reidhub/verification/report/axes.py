"""The frame of a plot: values become places on an SVG canvas, and round numbers become ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reidhub.verification.report.markup import Markup, element, join

_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from ``low`` to ``high`` on pixels from ``start`` to ``end``; logarithmic where ``log`` is set."""

    label: str
    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value in pixels; one beyond the ends is held at the end."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + min(max((at - low) / (high - low), 0), 1) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values, about five of them."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            ratio = self.high / self.low
            rungs = (1, 1.5, 2, 3, 5, 7) if ratio < 8 else (1, 2, 5) if ratio < 1000 else (1,)
            values = [float(rung) * 10.0**power for power in powers for rung in rungs]
        else:
            step = round_step((self.high - self.low) / 5)
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            values = [number * step for number in range(first, last + 1)]
        return [value for value in values if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9) or not self.log]


def round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least ``least`` > 0."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))


def span(values: Sequence[float], least: float, low: float, high: float) -> tuple[float, float]:
    """Round bounds around values, at least ``least`` apart and inside [low, high]."""
    middle, width = (min(values) + max(values)) / 2, max(max(values) - min(values), least) * 1.1
    step = round_step(width / 5)
    below, above = math.floor((middle - width / 2) / step) * step, math.ceil((middle + width / 2) / step) * step
    return max(below, low), min(above, high)


def frame(x: Axis, y: Axis) -> Markup:
    """Grid, ticks and labels of two axes; ``y`` grows upwards."""
    across = [
        element("line", class_="grid", x1=x(value), x2=x(value), y1=y.end, y2=y.start)
        + element("text", f"{value:.4g}", class_="tick", x=x(value), y=y.start + 16, text_anchor="middle")
        for value in x.ticks()
    ]
    up = [
        element("line", class_="grid", x1=x.start, x2=x.end, y1=y(value), y2=y(value))
        + element("text", f"{value:.4g}", class_="tick", x=x.start - 6, y=y(value) + 4, text_anchor="end")
        for value in y.ticks()
    ]
    labels = (
        element("text", x.label, class_="axis", x=(x.start + x.end) / 2, y=y.start + 34, text_anchor="middle"),
        element("text", y.label, class_="axis", x=4, y=y.end - 10),
    )
    return join(map(Markup, across), map(Markup, up), labels)


def drawing(key: str, size: tuple[float, float], words: tuple[str, str], *children: Markup) -> Markup:
    """An SVG that screen readers read as one image.

    Args:
        key: makes its ids; letters, digits and hyphens.
        size: width and height.
        words: title and description.
        children: what is drawn.
    """
    return element(
        "svg",
        element("title", words[0], id=f"{key}-title"),
        element("desc", words[1], id=f"{key}-desc"),
        children,
        viewBox=f"0 0 {size[0]:g} {size[1]:g}",
        width=size[0],
        height=size[1],
        role="img",
        aria_labelledby=f"{key}-title",
        aria_describedby=f"{key}-desc",
    )
