"""Figures as table rows: what is printed beside what was measured, with a verdict in words and a sign."""

from collections.abc import Iterator

from reidhub.verification.report.markup import Markup, element, join
from reidhub.verification.report.plots import signed
from reidhub.verification.results import VERDICTS, Figure, Measured, Report, Result, Verdict

MEANINGS: dict[Verdict, tuple[str, str]] = {
    "reproduced": ("●", "equal to the printed figure after rounding to its digits"),
    "close": ("◆", "at most 0.1 points from the printed figure: floating point or another JPEG decoder can do that"),
    "deviates": ("✕", "more than 0.1 points from the printed figure"),
    "not comparable": ("□", "a measurement made here neither confirms nor refutes the figure; the note says why"),
    "not run": ("–", "nothing was measured; the note says why"),
}
"""Verdict -> its sign and what it means."""

_NOTHING = "—"
_HEADER = ("metric", "reported, %", "measured, %", "deviation, points", "verdict", "hits")
_NUMBERS = {"reported, %", "measured, %", "deviation, points", "hits"}


def verdict_mark(verdict: Verdict) -> Markup:
    """The word with its sign before it."""
    sign = element("span", MEANINGS[verdict][0], aria_hidden="true")
    return element("span", sign, " ", verdict, class_=f"verdict {verdict.replace(' ', '-')}")


def overview(report: Report) -> Markup:
    """The table of all results: a row for each figure."""
    header = ("checkpoint", "dataset", *_HEADER, "note")
    rows = [row for place, result in enumerate(report.results) for row in _overview_rows(place, result)]
    caption = element("caption", "Reported beside measured; hits are queries found, of those that have a match")
    head = element("thead", element("tr", [_head(name) for name in header]))
    table = element("table", caption, head, element("tbody", rows), id="figures")
    return _scrolled("Reported beside measured", table)


def figure_table(result: Result) -> Markup:
    """All figures of one result, those that nobody printed among them."""
    name = f"{result.job.checkpoint.name} on {result.job.dataset}"
    rows = [
        element("tr", element("th", figure.metric, scope="row"), _cells(figure, result)) for figure in result.figures
    ]
    caption = element("caption", f"Figures of {name}", class_="unseen")
    table = element("table", caption, element("thead", element("tr", map(_head, _HEADER))), element("tbody", rows))
    return _scrolled(f"Figures of {name}", table)


def legend() -> Markup:
    """What each verdict means."""
    entries = [join(element("dt", verdict_mark(verdict)), element("dd", MEANINGS[verdict][1])) for verdict in VERDICTS]
    return element("dl", entries, class_="meanings")


def shown_figures(result: Result) -> list[Figure]:
    """The reported ones; where none is reported, all that were measured."""
    return [figure for figure in result.figures if figure.reported or result.job.score is None]


def _overview_rows(place: int, result: Result) -> Iterator[Markup]:
    figures: list[Figure | None] = [*shown_figures(result)] or [None]
    link = element("a", result.job.checkpoint.name, href=f"#result-{place}", class_="name")
    note = result.reason.splitlines()[0] if result.reason else None
    for figure in figures:
        verdict = (figure.verdict if figure else None) or result.verdict
        if figure is None:
            cells = join([element("td", verdict_mark(verdict) if head == "verdict" else _NOTHING) for head in _HEADER])
        else:
            cells = join(element("td", figure.metric), _cells(figure, result))
        yield element(
            "tr",
            element("th", link, scope="row"),
            element("td", result.job.dataset, class_="name"),
            cells,
            element("td", note, class_="note"),
            data_verdict=verdict,
        )


def _cells(figure: Figure, result: Result) -> Markup:
    queries = result.measurement.queries if isinstance(result, Measured) else 0
    deviation = figure.deviation
    verdict = figure.verdict or (result.verdict if result.job.score is None else None)
    return join(
        _number(figure.reported),
        _number(None if figure.measured is None else f"{figure.measured:.3f}"),
        _number(None if deviation is None else signed(deviation)),
        element("td", verdict_mark(verdict) if verdict else _NOTHING),
        _number(None if figure.hits is None else f"{figure.hits:,} of {queries:,}"),
    )


def _number(value: str | None) -> Markup:
    return element("td", value or _NOTHING, class_="number")


def _head(name: str) -> Markup:
    return element("th", name, scope="col", class_="number" if name in _NUMBERS else None)


def _scrolled(label: str, table: Markup) -> Markup:
    """A box that scrolls sideways where the screen is narrow, with the keyboard as well."""
    return element("div", table, class_="scrolled", role="region", aria_label=label, tabindex=0)
