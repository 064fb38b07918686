"""Computes a plot of scores over the cost of a model. ``templates/plots.html`` draws it as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reidhub.verification.report.axes import BOTTOM, LEFT, RIGHT, TOP, WIDTH, Axis, Plot, round_bounds
from reidhub.verification.results import Verdict

_LETTER = 6.9  # pixels of a letter in a label: more than the mean of the font, so that labels rarely touch


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One mark in an `AccuracyPlot`: a score of a checkpoint.

    Args:
        name: name of the checkpoint.
        title: what the mark stands for.
        cost: the cost of the model, greater than 0.
        percent: the score, in percent.
        mark: the shape; a verdict has a shape and a colour of its own.
        hollow: True for a mark that is not filled.
        labelled: True to write the name beside the mark, if there is room.
    """

    name: str
    title: str
    cost: float
    percent: float
    mark: Literal["circle", "square"] | Verdict
    hollow: bool = False
    labelled: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """A text on the canvas; ``x`` is its left end and ``y`` its base line, in pixels."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyPlot(Plot):
    """A plot of scores on one dataset (y) over the cost of the model (x); ``labels`` are the checkpoints' names."""

    points: Sequence[Point]
    labels: Sequence[Label]


def plot_accuracy(
    points: Sequence[Point], *, key: str, title: str, note: str, description: str, cost: str, score: str
) -> AccuracyPlot:
    """Make the plot of scores over the cost of the model.

    Args:
        points: the scores to show, at least one. If there is too little room, the first ones get a label.
        key: see `Plot`, as for ``title``, ``note`` and ``description``.
        title: see `Plot`.
        note: see `Plot`.
        description: see `Plot`.
        cost: label of the horizontal axis, which is logarithmic.
        score: label of the vertical axis.
    """
    costs, percents = [point.cost for point in points], [point.percent for point in points]
    x = Axis(cost, min(costs) / 1.6, max(costs) * 1.6, LEFT, RIGHT, log=True)
    y = Axis(score, *round_bounds(percents, 5, 0, 100), BOTTOM, TOP)
    texts = [(point.name if point.labelled else "", x(point.cost), y(point.percent)) for point in points]
    return AccuracyPlot(
        key=key,
        title=title,
        note=note,
        description=description,
        x=x,
        y=y,
        points=points,
        labels=_place_labels(texts),
    )


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
        if left >= LEFT and left + width <= WIDTH and not any(_overlap(_box(label), box) for box in taken):
            return label
    return None


def _box(label: Label) -> _Box:
    return label.x, label.y - 10, label.x + len(label.text) * _LETTER, label.y + 3


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
