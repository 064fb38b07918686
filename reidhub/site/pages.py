"""Renders the pages of the site: the table of all checkpoints, and a page for each checkpoint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reidhub.site import code
from reidhub.site.content import Content, Row
from reidhub.site.index_json import FILE_NAME
from reidhub.site.plots import plot_test_sets
from reidhub.verification.report.page import render_page
from reidhub.verification.results import VERDICTS
from reidhub.zoo import describe
from reidhub.zoo.artifact import GRADES
from reidhub.zoo.checkpoint import METRICS, Checkpoint
from reidhub.zoo.manifest import comes_with_package, zoo

_SIZES = (5, 20, 100, 300)  # MB
_STYLES = ("page.css", "site.css")
NOT_KNOWN = "not known"
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class _Filter:
    """A list above the table to choose from.

    Args:
        key: key of the attribute ``data-KEY`` of each row.
        label: title of the list.
        find: returns the values that a row has.
        order: all values in their order; None to sort those of the rows.
    """

    key: str
    label: str
    find: Callable[[Row], Sequence[str]]
    order: Sequence[str] | None = None

    def list_values(self, rows: Sequence[Row]) -> list[str]:
        """Return the values that at least one row has."""
        values = {value for row in rows for value in self.find(row)}
        return sorted(values) if self.order is None else [value for value in self.order if value in values]


def shorten_licence(checkpoint: Checkpoint) -> str:
    """Return the words before the first semicolon of a licence."""
    return checkpoint.licence.partition(";")[0]


def _name_sizes(row: Row) -> list[str]:
    size = row.checkpoint.artifact.size
    if size is None:
        return [NOT_KNOWN]
    return [_name_limit(limit) for limit in _SIZES if size <= limit * 1e6]


def _name_limit(megabytes: int) -> str:
    return f"at most {megabytes} MB"


_FILTERS = (
    _Filter("model", "Model", lambda row: [row.checkpoint.model]),
    _Filter("trained-on", "Trained on", lambda row: row.checkpoint.trained_on or [NOT_KNOWN]),
    _Filter("tested-on", "Tested on", lambda row: [row.dataset or "no score"]),
    _Filter("domain", "Domain", lambda row: [row.domain or "no score"]),
    _Filter("size", "Size", _name_sizes, [*map(_name_limit, _SIZES), NOT_KNOWN]),
    _Filter("licence", "Licence", lambda row: [shorten_licence(row.checkpoint)]),
    _Filter("verdict", "Verdict", lambda row: [row.verdict or NOT_MEASURED], [*VERDICTS, NOT_MEASURED]),
)


def render_index(content: Content) -> str:
    """Return the page with the table and the plots."""
    rows = content.list_rows()
    return render_page(
        "index.html",
        package=__package__,
        styles=_STYLES,
        scripts=("table.js",),
        content=content,
        rows=rows,
        filters=_FILTERS,
        plots=plot_test_sets(content, rows),
        models=len({checkpoint.model for checkpoint in content.checkpoints}),
        measured=any(row.verdict for row in rows),
        docs=content.find_docs(0),
        data=FILE_NAME,
        describe=describe,
        shorten_licence=shorten_licence,
    )


def render_checkpoint(checkpoint: Checkpoint, content: Content) -> str:
    """Return the page of one checkpoint."""
    architecture = zoo().architecture(checkpoint.model)
    published = [score.values for score in checkpoint.scores]
    published += [other.values for other in checkpoint.measured_elsewhere]
    return render_page(
        "checkpoint.html",
        package=__package__,
        styles=_STYLES,
        scripts=("copy.js",),
        checkpoint=checkpoint,
        architecture=architecture,
        is_default=architecture is not None and architecture.default == checkpoint.name,
        metrics=[metric for metric in METRICS if any(metric in values for values in published)],
        measurements=content.measurements.get(checkpoint.name, ()),
        links=content.links,
        in_zoo=comes_with_package(checkpoint),
        codes=_list_codes(checkpoint),
        grades=GRADES,
        docs=content.find_docs(1),
        describe=describe,
    )


def _list_codes(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    return [
        {"title": "Python", "key": "python", "text": code.write_python(checkpoint)},
        {"title": "Shell", "key": "shell", "text": code.write_shell(checkpoint)},
        {"title": "torch.hub, without an installation", "key": "hub", "text": code.write_torch_hub(checkpoint)},
    ]
