"""Writes the tables of ``docs/choosing.md`` from the manifest: ``python -m tools.write_choosing_tables``.

A table follows each line ``<!-- table: NAME -->``. Scores and costs come from the manifest. The time for one image
comes from ``docs/experiments.md``, from the first table that has it.
"""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Literal

from reidhub.files.markdown import write_markdown
from reidhub.zoo.checkpoint import Checkpoint, Score
from reidhub.zoo.manifest import zoo

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "choosing.md"
_TIME = "one image, ms"
_LIGHT_GFLOPS = Decimal("0.6")
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n\n)(?:\|.*\n)*")

Domain = Literal["same", "cross"]


def write_tables(text: str) -> str:
    """Return the text of the page with all its tables written anew."""
    return _TABLE.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n", text)


def write_trackers_table() -> str:
    """Write the table of cross-domain scores of the checkpoints that were trained on MSMT17."""
    rows = [
        [c.name, *_describe_cost(c.model), *(_format_score(c, name, "cross") for name in _CROSS)]
        for c in _sort((c for c in zoo().checkpoints if "msmt17" in c.trained_on), _CROSS, "cross")
    ]
    return _write(("checkpoint", *_COST, *_CROSS), rows)


def write_papers_table() -> str:
    """Write the table of same-domain scores: a row for each model, a column for each dataset."""
    best = _sort((c for c in zoo().checkpoints if c.tag in _SAME), _SAME, "same")
    rows = []
    for model in dict.fromkeys(c.model for c in best):
        by_tag = {c.tag: c for c in best if c.model == model}
        scores = [_format_score(by_tag[name], name, "same") if name in by_tag else "" for name in _SAME]
        rows.append([model, *_describe_cost(model), *scores])
    return _write(("model", *_COST, *_SAME), rows)


def write_edge_table() -> str:
    """Write the table of the models with few multiply-adds, from the lightest."""
    costs = {a.name: a.computed.multiply_adds for a in zoo().architectures if a.computed and a.default}
    rows = []
    for model in sorted(costs, key=lambda name: costs[name]):
        own = [c for c in zoo().checkpoints if c.model == model and c.for_reid]
        if not own or Decimal(costs[model]) / 10**9 > _LIGHT_GFLOPS:
            continue
        scores = [
            next((text for c in own if name in c.trained_on and (text := _format_score(c, "market1501", domain))), "")
            for name, domain in (("market1501", "same"), ("msmt17", "cross"))
        ]
        rows.append([model, *_describe_cost(model), *scores])
    return _write(("model", *_COST, "market1501, trained on it", "market1501, trained on MSMT17"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "trackers": write_trackers_table,
    "papers": write_papers_table,
    "edge": write_edge_table,
}
_COST = ("parameters, M", "multiply-adds, G", "one image, ms")
_CROSS = ("market1501", "dukemtmcreid")
_SAME = ("market1501", "dukemtmcreid", "msmt17")


def _find_score(checkpoint: Checkpoint, dataset: str, domain: str) -> Score | None:
    scores = (score for score in checkpoint.scores if score.dataset == dataset)
    return next((score for score in scores if checkpoint.find_domain(score) == domain), None)


def _format_score(checkpoint: Checkpoint, dataset: str, domain: str) -> str:
    score = _find_score(checkpoint, dataset, domain)
    return f"{score.values['rank1']} ({score.values['mAP']})" if score else ""


def _sort(checkpoints: Iterable[Checkpoint], datasets: tuple[str, ...], domain: Domain) -> list[Checkpoint]:
    """Return the checkpoints with such a score on any of the datasets, sorted by mAP on the first, then the others."""
    keys = {}
    for checkpoint in checkpoints:
        scores = [_find_score(checkpoint, dataset, domain) for dataset in datasets]
        if any(scores):
            keys[checkpoint.name] = [-score.decimal("mAP") if score else Decimal(0) for score in scores]
    return [zoo().find(name)[0] for name in sorted(keys, key=lambda name: keys[name])]


def _describe_cost(model: str) -> tuple[str, str, str]:
    architecture = zoo().architecture(model)
    if architecture is None or architecture.computed is None:
        raise ValueError(f"the manifest has no computed cost of {model}")
    cost = architecture.computed
    return f"{cost.params / 1e6:.1f}", f"{cost.multiply_adds / 1e9:.2f}", _read_times()[model]


def _read_times() -> dict[str, str]:
    """Read the time for one image of each architecture, in ms, from the tables in ``docs/experiments.md``."""
    times: dict[str, str] = {}
    titles: list[str] = []
    for line in (DOCS / "experiments.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("| architecture |") and _TIME in cells:
            titles = cells
        elif titles and line.startswith("|") and not line.startswith("|---"):
            times.setdefault(cells[1], cells[titles.index(_TIME)])
        elif not line.startswith("|"):
            titles = []
    return times


def _write(header: tuple[str, ...], rows: list[list[str]]) -> str:
    return write_markdown(header, rows, right=header[1:])


if __name__ == "__main__":
    PAGE.write_text(write_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
