"""Computes the plots of a report: values, texts and positions. ``templates/plots.html`` draws them as SVG.

A mark is the symbol of one value, such as a circle. Marks with different meanings differ in shape, and each verdict has
its own colour. The SVG title of a mark names the checkpoint.
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
"""Width of every plot, in pixels."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 620, 30, 330  # pixels of the area between the axes
_UNDER = 44  # pixels below this area, for the tick numbers and the label of the axis
_ROW = 19  # pixels from one deviation to the next
_LETTER = 6.9  # pixels of a letter in a label: more than the mean of the font, so that labels rarely touch
_PLOTTED = ("rank1", "top1", "mAP")


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
    height: float = _BOTTOM + _UNDER
    width: float = WIDTH


@dataclass(frozen=True, slots=True)
class Deviation:
    """The difference between a measured score and the published one.

    Args:
        name: name of the checkpoint.
        dataset: key of the dataset registry.
        metric: one of `reidhub.zoo.checkpoint.METRICS`.
        points: measured minus published score, in percentage points.
        verdict: verdict on the measured score.
    """

    name: str
    dataset: str
    metric: str
    points: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviationPlot(Plot):
    """A plot with one line of text for each score; a mark in the line shows the deviation."""

    deviations: Sequence[Deviation]


@dataclass(frozen=True, slots=True)
class Point:
    """One mark in an `AccuracyPlot`: a measured score of one checkpoint, and its number of parameters.

    Args:
        name: name of the checkpoint.
        metric: ``rank1``, ``top1`` or ``mAP``.
        params_m: number of parameters in millions, greater than 0.
        percent: the measured score, in percent.
        verdict: verdict on the measured score; None if no score is published.
    """

    name: str
    metric: str
    params_m: float
    percent: float
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Label:
    """A text on the canvas; ``x`` is its left end and ``y`` its base line, in pixels."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyPlot(Plot):
    """A plot of scores on one dataset (y) over the number of parameters (x); ``labels`` are the checkpoints' names."""

    points: Sequence[Point]
    labels: Sequence[Label]


@dataclass(frozen=True, slots=True)
class Curve:
    """The CMC curve of one checkpoint.

    Args:
        name: name of the checkpoint.
        percents: at index k - 1, the percentage of queries whose nearest match has rank k or better.
    """

    name: str
    percents: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CmcPlot(Plot):
    """A plot of CMC curves on one dataset."""

    curves: Sequence[Curve]


def plot_deviations(deviations: Sequence[Deviation]) -> DeviationPlot:
    """Make the plot that shows the deviation of each score; there must be at least one.

    The axis ends at most one percentage point from 0. A larger deviation is shown by an arrow at the end of the axis.
    """
    largest = max(abs(deviation.points) for deviation in deviations)
    limit = min(max(0.2, math.ceil(largest * 10) / 10), 1.0)
    bottom = _TOP + _ROW * len(deviations)
    return DeviationPlot(
        key="deviations",
        title="Measured minus printed",
        note="● reproduced, ◆ close, ▲ deviates but confirmed by others, ✕ deviates, □ not comparable, ▶ beyond one "
        "point; the band is the range of close",
        description=f"{len(deviations)} figures; the largest deviation is {largest:.3f} points. The band is 0.1 points "
        "to either side: inside it a figure is reproduced or close.",
        x=Axis("measured minus printed, points", -limit, limit, 306, 566),
        y=Axis("", 0, len(deviations), _TOP, bottom),
        height=bottom + _UNDER,
        deviations=deviations,
    )


def plot_accuracy(key: str, dataset: str, points: Sequence[Point]) -> AccuracyPlot:
    """Make the plot of scores over the number of parameters on one dataset.

    Args:
        key: prefix of the ids of HTML elements; letters, digits and hyphens.
        dataset: title of the dataset.
        points: the scores to show, at least one.
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
    """Make the plot of CMC curves on one dataset.

    Args:
        key: prefix of the ids of HTML elements; letters, digits and hyphens.
        dataset: title of the dataset.
        curves: the curves to show, at least one.
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
    """List the deviations of all scores that were both published and measured."""
    return [
        Deviation(result.job.checkpoint.name, result.job.dataset, figure.metric, figure.deviation, figure.verdict)
        for result in report.measured
        for figure in result.figures
        if figure.deviation is not None and figure.verdict is not None
    ]


def plot_datasets(report: Report) -> list[tuple[AccuracyPlot, CmcPlot]]:
    """Make the accuracy plot and the CMC plot of each dataset; the datasets are in the order of the results."""
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
    """Return how many million parameters compute an embedding: the published number, or else our own count."""
    if checkpoint.params_m is not None:
        return float(checkpoint.params_m)
    return _count_parameters(checkpoint.model, (checkpoint.input.height, checkpoint.input.width)) / 1e6


@cache
def _count_parameters(architecture: str, size: tuple[int, int]) -> int:
    return complexity(build(architecture, 1, device="meta").eval(), size).params_by_calls


_Box = tuple[float, float, float, float]  # left, top, right, bottom


def _place_labels(points: Sequence[tuple[str, float, float]]) -> list[Label]:
    """Place labels next to points. Labels cover no points and no other labels; a label without room is left out.

    Args:
        points: (text, x, y) for each point, in pixels. A point with an empty text gets no label.
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
    """Try the places right, left, above and below a point. Return the label at the first free place, or None."""
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
