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
from reidhub.verification.report.accuracy_plot import AccuracyPlot, Point, plot_accuracy
from reidhub.verification.report.axes import BOTTOM, LEFT, RIGHT, TOP, UNDER, Axis, Plot, round_bounds
from reidhub.verification.results import Measured, Report, Verdict
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.describe import name_metric

_ROW = 19  # pixels from one deviation to the next
_PLOTTED = ("rank1", "top1", "mAP")


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
    bottom = TOP + _ROW * len(deviations)
    return DeviationPlot(
        key="deviations",
        title="Measured minus reported",
        note="● reproduced, ◆ close, ▲ deviates but confirmed by others, ✕ deviates, □ not comparable, ▶ more than one "
        "point; inside the band, a figure is reproduced or close",
        description=f"{len(deviations)} figures; the largest deviation is {largest:.3f} points. The band goes "
        "from -0.1 to 0.1 points: inside it, a figure is reproduced or close.",
        x=Axis("measured minus reported, points", -limit, limit, 306, 566),
        y=Axis("", 0, len(deviations), TOP, bottom),
        height=bottom + UNDER,
        deviations=deviations,
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
        note="The share of queries with a right image among the first k",
        description="; ".join(
            f"{curve.name}: {curve.percents[0]:.1f} percent at rank 1, {curve.percents[-1]:.1f} at rank "
            f"{len(curve.percents)}"
            for curve in curves
        ),
        x=Axis("rank k", 1, ranks, LEFT, RIGHT),
        y=Axis("queries found, %", *round_bounds(values, 5, 0, 100), BOTTOM, TOP),
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
        curves = [Curve(r.job.checkpoint.name, tuple(100 * share for share in r.measurement.cmc)) for r in results]
        plots.append((_plot_scores(f"accuracy-{number}", results), plot_cmc(f"cmc-{number}", title, curves)))
    return plots


def _plot_scores(key: str, results: Sequence[Measured]) -> AccuracyPlot:
    points = [point for result in results for point in _list_points(result)]
    params, percents = [point.cost for point in points], [point.percent for point in points]
    marks = "● rank-1, ■ mAP" if results[0].is_retrieval else "● top-1"
    return plot_accuracy(
        points,
        key=key,
        title=f"Accuracy over parameters, {results[0].copy.title}",
        note=f"{marks}; hollow: not comparable. Parameters are the reported ones, or else counted.",
        description=f"{len({point.name for point in points})} checkpoints, {len(points)} measured figures from "
        f"{min(percents):.1f} to {max(percents):.1f} percent, over {min(params):.3g} to {max(params):.3g} million "
        "parameters. The table of figures holds the same numbers.",
        cost="parameters, millions (logarithmic)",
        score="measured, %",
    )


def _list_points(result: Measured) -> Iterable[Point]:
    checkpoint = result.job.checkpoint
    params_m = count_parameters_m(checkpoint)
    for figure in result.figures:
        if figure.metric in _PLOTTED and figure.measured is not None:
            yield Point(
                name=checkpoint.name,
                title=f"{checkpoint.name}: {name_metric(figure.metric)} {figure.measured:.3f} %, "
                f"{params_m:.3g} million parameters",
                cost=params_m,
                percent=figure.measured,
                mark="square" if figure.metric == "mAP" else "circle",
                hollow=figure.verdict in (None, "not comparable"),
                labelled=figure.metric != "mAP",
            )


def count_parameters_m(checkpoint: Checkpoint) -> float:
    """Return how many million parameters compute an embedding: the published number, or else our own count."""
    if checkpoint.params_m is not None:
        return float(checkpoint.params_m)
    return _count_parameters(checkpoint.model, (checkpoint.input.height, checkpoint.input.width)) / 1e6


@cache
def _count_parameters(architecture: str, size: tuple[int, int]) -> int:
    return complexity(build(architecture, 1, device="meta").eval(), size).params_by_calls
