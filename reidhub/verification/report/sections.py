"""Which plots a report has, and what goes into each."""

from collections.abc import Iterable
from functools import cache

from reidhub.inference.complexity import complexity
from reidhub.models import build
from reidhub.verification.report.markup import Markup, element, join
from reidhub.verification.report.plots import (
    Curve,
    Deviation,
    Point,
    accuracy_plot,
    cmc_plot,
    deviation_plot,
)
from reidhub.verification.results import Measured, Report
from reidhub.zoo.checkpoint import Checkpoint

_PLOTTED = ("rank1", "top1", "mAP")
_CMC_NOTE = "The share of queries whose first right image has this rank or a better one"


def plots(report: Report) -> Markup:
    """Deviations of all figures; for each dataset accuracy over parameters, and CMC curves."""
    measured = report.measured
    if not measured:
        return element("p", "Nothing was measured, so there is nothing to plot.")
    datasets = {result.job.dataset: result.copy.title for result in measured}
    by_dataset = [
        _of_dataset(place, title, [result for result in measured if result.job.dataset == name])
        for place, (name, title) in enumerate(datasets.items())
    ]
    return join(_deviations(measured), by_dataset)


def _deviations(results: Iterable[Measured]) -> Markup | None:
    found = [
        Deviation(result.job.checkpoint.name, result.job.dataset, figure.metric, figure.deviation, figure.verdict)
        for result in results
        for figure in result.figures
        if figure.deviation is not None and figure.verdict is not None
    ]
    if not found:
        return element("p", "No measured figure has a printed one to be compared with.")
    title = "Measured minus printed"
    note = "● reproduced, ◆ close, ✕ deviates, □ not comparable, ▶ beyond one point; the band is what counts as close"
    return _plot(title, note, deviation_plot("deviations", title, found))


def _of_dataset(place: int, title: str, results: list[Measured]) -> Markup:
    points = [
        Point(
            result.job.checkpoint.name,
            figure.metric,
            parameters_m(result.job.checkpoint),
            figure.measured,
            figure.verdict,
        )
        for result in results
        for figure in result.figures
        if figure.metric in _PLOTTED and figure.measured is not None
    ]
    curves = [Curve(result.job.checkpoint.name, result.measurement.cmc) for result in results]
    accuracy, cmc = f"Accuracy over parameters, {title}", f"CMC curves, {title}"
    first = points[0].metric
    square = ", ■ mAP" if any(point.metric == "mAP" for point in points) else ""
    note = f"● {first}{square}; hollow: not comparable. Parameters as printed, else as counted."
    return join(
        _plot(accuracy, note, accuracy_plot(f"accuracy-{place}", accuracy, points)),
        _plot(cmc, _CMC_NOTE, cmc_plot(f"cmc-{place}", cmc, curves)),
    )


def _plot(title: str, note: str, plot: Markup) -> Markup:
    caption = element("figcaption", element("strong", title), ". ", note)
    box = element("div", plot, class_="scrolled", role="region", aria_label=title, tabindex=0)
    return element("figure", caption, box, class_="plot")


def parameters_m(checkpoint: Checkpoint) -> float:
    """Parameters of an embedding in millions: as printed, else counted by the definition of the printed figures."""
    if checkpoint.params_m is not None:
        return float(checkpoint.params_m)
    return _counted(checkpoint.model, (checkpoint.input.height, checkpoint.input.width)) / 1e6


@cache
def _counted(architecture: str, size: tuple[int, int]) -> int:
    return complexity(build(architecture, 1, device="meta").eval(), size).params_by_calls
