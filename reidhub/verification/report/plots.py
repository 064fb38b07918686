"""The plots of a report: what they show and where it lies. ``templates/plots.html`` draws them as SVG.

Every kind of mark has a shape of its own beside its colour, and a title that says what it stands for.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from reidhub.inference.complexity import complexity
from reidhub.models import build
from reidhub.verification.report.axes import Axis, round_bounds
from reidhub.verification.results import Measured, Report, Verdict
from reidhub.zoo.checkpoint import Checkpoint

WIDTH = 640
"""Pixels of every plot."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 620, 30, 330  # pixels of the area between the axes
_UNDER = 44  # pixels below it, for ticks and the label of the axis
_ROW = 19  # pixels from one deviation to the next
_LETTER = 6.9  # pixels; more than the mean width in the labels' font, so that labels rarely touch
_PLOTTED = ("rank1", "top1", "mAP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What every plot has.

    Args:
        key: makes ids; letters, digits and hyphens.
        title: what the plot shows.
        note: what its marks mean.
        description: its content in a sentence, for screen readers.
        x: the axis from left to right.
        y: the axis from the bottom up, or of deviations from the top down.
        height: pixels.
    """

    key: str
    title: str
    note: str
    description: str
    x: Axis
    y: Axis
    height: float = _BOTTOM + _UNDER
    width: float = WIDTH


@dataclass(frozen=True, slots=True)
class Deviation:
    """The distance of a measured figure from the printed one.

    Args:
        name: of the checkpoint.
        dataset: key of the dataset registry.
        metric: one of `reidhub.zoo.checkpoint.METRICS`.
        points: measured minus printed.
        verdict: on the figure.
    """

    name: str
    dataset: str
    metric: str
    points: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviationPlot(Plot):
    """A line for each figure, with a mark at its deviation."""

    deviations: Sequence[Deviation]


@dataclass(frozen=True, slots=True)
class Point:
    """The accuracy of one checkpoint.

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


@dataclass(frozen=True, slots=True)
class Label:
    """A text on the canvas; ``x`` is its left end, ``y`` its base line."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyPlot(Plot):
    """Accuracy over parameters on one dataset; ``labels`` are names beside points."""

    points: Sequence[Point]
    labels: Sequence[Label]


@dataclass(frozen=True, slots=True)
class Curve:
    """The CMC curve of one checkpoint.

    Args:
        name: of the checkpoint.
        percents: at place k - 1 the percentage of queries that are found at rank k or better.
    """

    name: str
    percents: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CmcPlot(Plot):
    """CMC curves on one dataset."""

    curves: Sequence[Curve]


def plot_deviations(deviations: Sequence[Deviation]) -> DeviationPlot:
    """The deviations of at least one figure.

    The axis ends at one point: a figure that is further away has an arrow at its end.
    """
    largest = max(abs(deviation.points) for deviation in deviations)
    limit = min(max(0.2, math.ceil(largest * 10) / 10), 1.0)
    bottom = _TOP + _ROW * len(deviations)
    return DeviationPlot(
        key="deviations",
        title="Measured minus printed",
        note="● reproduced, ◆ close, ✕ deviates, □ not comparable, ▶ beyond one point; the band is the range of close",
        description=f"{len(deviations)} figures; the largest deviation is {largest:.3f} points. The band is 0.1 points "
        "to either side: inside it a figure is reproduced or close.",
        x=Axis("measured minus printed, points", -limit, limit, 306, 566),
        y=Axis("", 0, len(deviations), _TOP, bottom),
        height=bottom + _UNDER,
        deviations=deviations,
    )


def plot_accuracy(key: str, dataset: str, points: Sequence[Point]) -> AccuracyPlot:
    """Accuracy over parameters of at least one checkpoint.

    Args:
        key: makes ids; letters, digits and hyphens.
        dataset: title of the dataset.
        points: at least one.
    """
    params, percents = [point.params_m for point in points], [point.percent for point in points]
    x = Axis("parameters, millions (logarithmic)", min(params) / 1.6, max(params) * 1.6, _LEFT, _RIGHT, log=True)
    y = Axis("measured, %", *round_bounds(percents, 5, 0, 100), _BOTTOM, _TOP)
    first = points[0].metric
    square = ", ■ mAP" if any(point.metric == "mAP" for point in points) else ""
    return AccuracyPlot(
        key=key,
        title=f"Accuracy over parameters, {dataset}",
        note=f"● {first}{square}; hollow: not comparable. Parameters are the printed ones, or else counted.",
        description=f"{len({point.name for point in points})} checkpoints, {len(points)} measured figures from "
        f"{min(percents):.1f} to {max(percents):.1f} percent, over {min(params):.3g} to {max(params):.3g} million "
        "parameters. The table of figures holds the same numbers.",
        x=x,
        y=y,
        points=points,
        labels=_place_labels([(p.name if p.metric == first else "", x(p.params_m), y(p.percent)) for p in points]),
    )


def plot_cmc(key: str, dataset: str, curves: Sequence[Curve]) -> CmcPlot:
    """CMC curves of at least one checkpoint.

    Args:
        key: makes ids; letters, digits and hyphens.
        dataset: title of the dataset.
        curves: at least one.
    """
    ranks = max(len(curve.percents) for curve in curves)
    values = [percent for curve in curves for percent in curve.percents]
    return CmcPlot(
        key=key,
        title=f"CMC curves, {dataset}",
        note="The share of queries that have a right image at this rank or a better one",
        description="; ".join(
            f"{curve.name}: {curve.percents[0]:.1f} percent at rank 1, {curve.percents[-1]:.1f} at rank "
            f"{len(curve.percents)}"
            for curve in curves
        ),
        x=Axis("rank (a query is found at it or better)", 1, ranks, _LEFT, _RIGHT),
        y=Axis("queries found, %", *round_bounds(values, 5, 0, 100), _BOTTOM, _TOP),
        curves=curves,
    )


def list_deviations(report: Report) -> list[Deviation]:
    """All figures that have a printed and a measured value."""
    return [
        Deviation(result.job.checkpoint.name, result.job.dataset, figure.metric, figure.deviation, figure.verdict)
        for result in report.measured
        for figure in result.figures
        if figure.deviation is not None and figure.verdict is not None
    ]


def plot_datasets(report: Report) -> list[tuple[AccuracyPlot, CmcPlot]]:
    """The plots of each dataset, in the order of the results."""
    by_dataset: dict[str, list[Measured]] = {}
    for result in report.measured:
        by_dataset.setdefault(result.job.dataset, []).append(result)
    plots = []
    for number, results in enumerate(by_dataset.values()):
        title = results[0].copy.title
        points = [point for result in results for point in _list_points(result)]
        curves = [Curve(r.job.checkpoint.name, tuple(100 * share for share in r.measurement.cmc)) for r in results]
        plots.append((plot_accuracy(f"accuracy-{number}", title, points), plot_cmc(f"cmc-{number}", title, curves)))
    return plots


def _list_points(result: Measured) -> Iterable[Point]:
    checkpoint = result.job.checkpoint
    for figure in result.figures:
        if figure.metric in _PLOTTED and figure.measured is not None:
            yield Point(checkpoint.name, figure.metric, count_parameters_m(checkpoint), figure.measured, figure.verdict)


def count_parameters_m(checkpoint: Checkpoint) -> float:
    """Parameters of an embedding in millions: as printed, else counted by the definition of the printed figures."""
    if checkpoint.params_m is not None:
        return float(checkpoint.params_m)
    return _count_parameters(checkpoint.model, (checkpoint.input.height, checkpoint.input.width)) / 1e6


@cache
def _count_parameters(architecture: str, size: tuple[int, int]) -> int:
    return complexity(build(architecture, 1, device="meta").eval(), size).params_by_calls


_Box = tuple[float, float, float, float]  # left, top, right, bottom


def _place_labels(points: Sequence[tuple[str, float, float]]) -> list[Label]:
    """Labels beside points, left out where there is no room.

    Args:
        points: text, x and y of each; a point without a text has no label, but keeps its own place free.
    """
    taken = [(x - 6, y - 6, x + 6, y + 6) for _, x, y in points]
    labels = []
    for text, x, y in points:
        label = _find_place(text, x, y, taken) if text else None
        if label:
            labels.append(label)
            taken.append(_box(label))
    return labels


def _find_place(text: str, x: float, y: float, taken: Sequence[_Box]) -> Label | None:
    """The first free place of these: right of a point, left of it, above, below."""
    width = len(text) * _LETTER
    for left, base in ((x + 9, y + 4), (x - 9 - width, y + 4), (x - width / 2, y - 10), (x - width / 2, y + 19)):
        label = Label(text, left, base)
        if left >= _LEFT and left + width <= WIDTH and not any(_overlap(_box(label), box) for box in taken):
            return label
    return None


def _box(label: Label) -> _Box:
    return label.x, label.y - 10, label.x + len(label.text) * _LETTER, label.y + 3


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
