"""The plots of a report as inline SVG: accuracy over parameters, deviations, CMC curves.

Every mark has a shape of its own beside its colour, and a title that says what it stands for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from reidhub.verification.report.axes import Axis, drawing, frame, span
from reidhub.verification.report.markup import Markup, element, join
from reidhub.verification.results import Verdict

_LINES = 8  # colours; behind them come dashes
_LETTER = 6.9  # pixels, of the labels' font; more than the mean, so that labels rarely touch


@dataclass(frozen=True, slots=True)
class Point:
    """One checkpoint's accuracy.

    Args:
        name: of the checkpoint.
        metric: one of `reidhub.zoo.checkpoint.METRICS`.
        params_m: parameters in millions, above 0.
        percent: as measured.
        verdict: on the figure; None where none is reported.
    """

    name: str
    metric: str
    params_m: float
    percent: float
    verdict: Verdict | None


def accuracy_plot(key: str, title: str, points: Sequence[Point]) -> Markup:
    """Accuracy over parameters of one dataset.

    Args:
        key: makes ids.
        title: what the plot is of.
        points: at least one.
    """
    params = [point.params_m for point in points]
    x = Axis("parameters, millions (logarithmic)", min(params) / 1.6, max(params) * 1.6, 48, 620, log=True)
    y = Axis("measured, %", *span([point.percent for point in points], 5, 0, 100), 330, 30)
    shapes = [_shape(point, x(point.params_m), y(point.percent)) for point in points]
    first = points[0].metric
    placed = [("" if p.metric != first else p.name, x(p.params_m), y(p.percent)) for p in points]
    labels = _labels(placed)
    models = len({point.name for point in points})
    description = (
        f"{models} checkpoints, {len(points)} measured figures from {min(p.percent for p in points):.1f} to "
        f"{max(p.percent for p in points):.1f} percent, over {min(params):.3g} to {max(params):.3g} million "
        "parameters. The table of figures holds the same numbers."
    )
    return drawing(key, (640, 374), (title, description), frame(x, y), join(shapes), join(labels))


def _shape(point: Point, x: float, y: float) -> Markup:
    """A circle for the first rank, a square for mAP; hollow where it is not comparable."""
    hollow = " hollow" if point.verdict in (None, "not comparable") else ""
    words = f"{point.name}: {point.metric} {point.percent:.3f} %, {point.params_m:.3g} million parameters"
    title = element("title", words)
    if point.metric == "mAP":
        return element("rect", title, class_=f"point second{hollow}", x=x - 4.5, y=y - 4.5, width=9, height=9)
    return element("circle", title, class_=f"point first{hollow}", cx=x, cy=y, r=5)


def _labels(points: Sequence[tuple[str, float, float]]) -> list[Markup]:
    """Names beside points, left out where there is no room; a point may have none."""
    taken = [(x - 6, y - 6, x + 6, y + 6) for _, x, y in points]
    labels = []
    for name, x, y in filter(itemgetter(0), points):
        width = len(name) * _LETTER
        for left, base in ((x + 9, y + 4), (x - 9 - width, y + 4), (x - width / 2, y - 10), (x - width / 2, y + 19)):
            box = (left, base - 10, left + width, base + 3)
            if left >= 48 and box[2] <= 640 and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                labels.append(element("text", name, class_="label", x=left, y=base))
                break
    return labels


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far one figure is from the printed one: ``points`` is measured minus printed."""

    name: str
    dataset: str
    metric: str
    points: float
    verdict: Verdict


def deviation_plot(key: str, title: str, deviations: Sequence[Deviation]) -> Markup:
    """One line for each figure, a mark at its deviation; ``deviations`` holds at least one.

    The axis ends at one point; what is further away sits at its end and has an arrow.
    """
    largest = max(abs(deviation.points) for deviation in deviations)
    limit = min(max(0.2, math.ceil(largest * 10) / 10), 1.0)
    height = 30 + 19 * len(deviations)
    x = Axis("measured minus printed, points", -limit, limit, 306, 566)
    y = Axis("", len(deviations), 0, height, 30)
    rows = [_deviation_row(deviation, x, y(place + 0.5)) for place, deviation in enumerate(deviations)]
    band = element("rect", class_="band", x=x(-0.1), y=30, width=x(0.1) - x(-0.1), height=height - 30)
    zero = element("line", class_="zero", x1=x(0), x2=x(0), y1=30, y2=height)
    description = (
        f"{len(deviations)} figures; the largest deviation is {largest:.3f} points. "
        "The band is 0.1 points to either side: inside it a figure is reproduced or close."
    )
    return drawing(key, (640, height + 40), (title, description), band, _grid(x, height), zero, join(rows))


def _grid(x: Axis, height: float) -> Markup:
    ticks = [
        join(
            element("line", class_="grid", x1=x(value), x2=x(value), y1=30, y2=height),
            element("text", _tick(value), class_="tick", x=x(value), y=height + 16, text_anchor="middle"),
        )
        for value in x.ticks()
    ]
    label = element("text", x.label, class_="axis", x=(x.start + x.end) / 2, y=height + 34, text_anchor="middle")
    return join(ticks, label)


def _tick(points: float) -> str:
    return f"{points:+.3g}".replace("-", "\N{MINUS SIGN}") if abs(points) > 1e-9 else "0"


def _deviation_row(deviation: Deviation, x: Axis, y: float) -> Markup:
    at = x(deviation.points)
    beyond = abs(deviation.points) > x.high
    words = f"{deviation.name} on {deviation.dataset}, {deviation.metric}"
    title = element("title", f"{words}: {signed(deviation.points)} points, {deviation.verdict}")
    shape = "M-6,-5L6,0L-6,5Z" if deviation.points > 0 else "M6,-5L-6,0L6,5Z"
    path = shape if beyond else _SHAPES[deviation.verdict]
    mark = element(
        "path",
        title,
        class_=f"mark {deviation.verdict.replace(' ', '-')}",
        d=path,
        transform=f"translate({at:.2f} {y:.2f})",
    )
    label = _shortened(f"{deviation.name} · {deviation.dataset} · {deviation.metric}", 47)
    return join(
        element("text", label, class_="label", x=290, y=y + 4, text_anchor="end"),
        element("line", class_="stem", x1=x(0), x2=at, y1=y, y2=y),
        mark,
        element("text", signed(deviation.points), class_="tick", x=634, y=y + 4, text_anchor="end"),
    )


_SHAPES: dict[Verdict, str] = {
    "reproduced": "M-5,0A5,5 0 1 1 5,0A5,5 0 1 1 -5,0Z",
    "close": "M-6,0L0,-6L6,0L0,6Z",
    "deviates": "M-5,-5L5,5M-5,5L5,-5",
    "not comparable": "M-5,-5H5V5H-5Z",
    "not run": "",
}
"""A circle, a diamond, a cross and a square around the middle."""


def signed(points: float) -> str:
    """Three decimals with a sign."""
    return f"{points:+.3f}".replace("-", "\N{MINUS SIGN}")


def _shortened(words: str, length: int) -> str:
    return words if len(words) <= length else "…" + words[1 - length :]


@dataclass(frozen=True, slots=True)
class Curve:
    """The CMC curve of one checkpoint: at place k - 1 the fraction found at rank k or better."""

    name: str
    fractions: tuple[float, ...]


def cmc_plot(key: str, title: str, curves: Sequence[Curve]) -> Markup:
    """CMC curves of one dataset in one plot, with a legend; ``curves`` holds at least one."""
    ranks = max(len(curve.fractions) for curve in curves)
    values = [100 * fraction for curve in curves for fraction in curve.fractions]
    x = Axis("rank (a query is found at it or better)", 1, ranks, 48, 620)
    y = Axis("queries found, %", *span(values, 5, 0, 100), 330, 30)
    lines = [_line(curve, place, x, y) for place, curve in enumerate(curves)]
    description = "; ".join(
        f"{curve.name}: {100 * curve.fractions[0]:.1f} percent at rank 1, {100 * curve.fractions[-1]:.1f} at rank "
        f"{len(curve.fractions)}"
        for curve in curves
    )
    plot = drawing(key, (640, 374), (title, description), frame(x, y), join(lines))
    return join(plot, _legend(curves))


def _line(curve: Curve, place: int, x: Axis, y: Axis) -> Markup:
    places = [f"{x(rank):.1f},{y(100 * fraction):.1f}" for rank, fraction in enumerate(curve.fractions, 1)]
    return element("polyline", element("title", curve.name), class_=f"curve {_style(place)}", points=" ".join(places))


def _legend(curves: Sequence[Curve]) -> Markup:
    """Which line is whose; screen readers have it from the description."""
    entries = [
        element("li", _swatch(place), " ", element("span", curve.name, class_="name"))
        for place, curve in enumerate(curves)
    ]
    return element("ul", entries, class_="legend")


def _swatch(place: int) -> Markup:
    line = element("line", class_=f"curve {_style(place)}", x1=0, x2=34, y1=6, y2=6)
    return element("svg", line, viewBox="0 0 34 12", width=34, height=12, aria_hidden="true")


def _style(place: int) -> str:
    return f"colour-{place % _LINES} dash-{place // _LINES % 4}"
