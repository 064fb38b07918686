"""The plots of the site: mAP over multiply-adds, one plot for each test set."""

from collections.abc import Iterable, Iterator, Sequence

from reidhub.site.content import Content, Row
from reidhub.verification.report.accuracy_plot import AccuracyPlot, Point, plot_accuracy
from reidhub.zoo.describe import find_gflops


def plot_test_sets(content: Content, rows: Sequence[Row]) -> list[AccuracyPlot]:
    """Make the plots; the test sets with the most checkpoints come first.

    A test set without mAP has no plot. A checkpoint has no mark if its multiply-adds are not known.
    """
    by_dataset: dict[str, list[Point]] = {}
    for row in rows:
        if row.dataset is not None:
            by_dataset.setdefault(row.dataset, []).extend(_list_points(content, row))
    ordered = sorted(by_dataset.items(), key=lambda item: -len(item[1]))
    return [_plot(f"plot-{number}", name, points) for number, (name, points) in enumerate(ordered) if points]


def _plot(key: str, dataset: str, points: Iterable[Point]) -> AccuracyPlot:
    """Make the plot of one test set.

    Reported scores come first, the best before the others, because the first marks get a label. Measured scores are
    drawn on top of them, the comparable ones last.
    """
    layers = {"square": 0, "not comparable": 1}
    ordered = sorted(points, key=lambda point: (layers.get(point.mark, 2), -point.percent))
    reported = [point for point in ordered if point.mark == "square"]
    costs, percents = [point.cost for point in ordered], [point.percent for point in ordered]
    measured = len(ordered) - len(reported)
    note = "■ reported; hollow: trained on another dataset"
    verdicts = ". Measured: ● reproduced, ◆ close, ▲ deviates but confirmed, ✕ deviates, □ not comparable"
    return plot_accuracy(
        ordered,
        key=key,
        title=f"mAP over multiply-adds, {dataset}",
        note=note + (verdicts if measured else "") + ".",
        description=f"{len(reported)} reported figures and {measured} measured ones, from "
        f"{min(percents):.1f} to {max(percents):.1f} percent, over {min(costs):.3g} to {max(costs):.3g} billion "
        "multiply-adds. The table holds the same numbers.",
        cost="multiply-adds for one image, 10⁹ (logarithmic)",
        score="mAP, %",
    )


def _list_points(content: Content, row: Row) -> Iterator[Point]:
    """Yield the marks of one row: the reported mAP, then each measured one."""
    checkpoint, gflops = row.checkpoint, find_gflops(row.checkpoint)
    if not gflops or float(gflops) <= 0:
        return
    cost = float(gflops)
    if row.score and "mAP" in row.score.values:
        reported = row.score.values["mAP"]
        yield Point(
            name=checkpoint.name,
            title=f"{checkpoint.name}: mAP {reported} %, reported; {gflops} billion multiply-adds",
            cost=cost,
            percent=float(reported),
            mark="square",
            hollow=checkpoint.find_domain(row.score) == "cross",
            labelled=True,
        )
    for one in content.measurements.get(checkpoint.name, ()):
        for figure in one.result.figures:
            if one.result.dataset == row.dataset and figure.metric == "mAP" and figure.measured is not None:
                verdict = figure.verdict or "not comparable"
                title = f"{checkpoint.name}: mAP {figure.measured:.3f} %, measured: {verdict}; {gflops} billion"
                yield Point(
                    name=checkpoint.name,
                    title=f"{title} multiply-adds",
                    cost=cost,
                    percent=figure.measured,
                    mark=verdict,
                )
