"""``reidhub list``: list checkpoints with their scores and sizes."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import click

from reidhub.cli.candidates import list_architectures, list_test_sets, list_training_sets
from reidhub.cli.describe import format_score, is_cached, make_json
from reidhub.cli.examples import Command
from reidhub.cli.filters import ORDERS, Filter, sort_checkpoints
from reidhub.cli.options import (
    OPTIONAL_SELECTOR,
    Form,
    format_options,
    optional_selectors_argument,
    select_checkpoints,
)
from reidhub.cli.tables import Cell, format_count, format_size, print_table
from reidhub.zoo.artifact import GRADES
from reidhub.zoo.checkpoint import METRICS, Checkpoint
from reidhub.zoo.describe import describe_file, find_gflops, find_grade, find_params_m


@click.command(
    "list",
    cls=Command,
    epilog=OPTIONAL_SELECTOR,
    examples="""
    # Trained on MSMT17 and tested on Market-1501, highest mAP first
    reidhub list --trained-on msmt17 --tested-on market1501 --sort mAP
    # Models of at most 1 million parameters, as CSV
    reidhub list --max-params 1 --format csv
    """,
)
@optional_selectors_argument
@click.option(
    "--model",
    "models",
    metavar="MODEL",
    multiple=True,
    shell_complete=list_architectures,
    help="Only of this model; may be repeated.",
)
@click.option(
    "--trained-on",
    metavar="DATASET",
    multiple=True,
    shell_complete=list_training_sets,
    help="Only trained on this dataset; may be repeated.",
)
@click.option(
    "--tested-on",
    metavar="DATASET",
    multiple=True,
    shell_complete=list_test_sets,
    help="Only with a score on this dataset, and only this score; may be repeated.",
)
@click.option("--cached", is_flag=True, help="Only with a file in the cache.")
@click.option(
    "--max-params",
    "max_params_m",
    metavar="MILLIONS",
    type=click.FloatRange(min=0),
    help="Only with at most this number of parameters.",
)
@click.option(
    "--sort",
    "order",
    metavar=f"[{'|'.join(ORDERS)}]",
    type=click.Choice(ORDERS, case_sensitive=False),
    shell_complete=lambda ctx, param, text: [one for one in ORDERS if one.lower().startswith(text.lower())],
    help="Scores: best first; others: smallest first. By default as in the manifest.",
)
@format_options
def command(selectors: tuple[str, ...], *, order: str | None, form: Form, **conditions: Any) -> None:
    """List checkpoints with their scores, their size and how their file is checked.

    A score is `same-domain` if the checkpoint was trained on images of that dataset, and `cross-domain` if it was
    trained elsewhere. CSV, Markdown and LaTeX have one row for each dataset that a checkpoint was scored on. `grade`
    says how good the evidence for the sha256 is: `proven`, `strong` or `single`. `reidhub show` explains the words.
    """
    chosen = Filter(**conditions).apply(select_checkpoints(selectors))
    if order:
        chosen = sort_checkpoints(chosen, order)
    if form == "json":
        click.echo(json.dumps([make_json(checkpoint) for checkpoint in chosen], indent=1))
        return
    if form == "table":
        rows = [_make_row(checkpoint) for checkpoint in chosen]
        print_table(_HEADER, rows, right=("params", "GFLOPs", "size"))
    else:
        records = [record for checkpoint in chosen for record in _make_records(checkpoint)]
        print_table(_FIELDS, records, right=("params_m", "gflops", *METRICS, "size"), form=form)
    click.echo(_sum_up(chosen), err=True)


def _sum_up(checkpoints: Sequence[Checkpoint]) -> str:
    """Return how many checkpoints there are, how many have a sha256 of each grade, and how many have none."""
    grades = [find_grade(checkpoint) or "not graded" for checkpoint in checkpoints if checkpoint.artifact.pinned]
    parts = [f"{grades.count(grade)} {grade}" for grade in (*GRADES, "not graded") if grade in grades]
    unpinned = f"{len(checkpoints) - len(grades)} unpinned (no sha256 known)"
    return f"{format_count(len(checkpoints), 'checkpoint')}: {', '.join([*parts, unpinned])}"


_SCORES = ("same-domain rank-1 (mAP)", "cross-domain rank-1 (mAP)")
_HEADER = ("checkpoint", "params", "GFLOPs", "size", "file", "grade", *_SCORES, "cached")
_FIELDS = ("checkpoint", "params_m", "gflops", "dataset", "domain", *METRICS, "size", "file", "cached", "grade")


def _make_row(checkpoint: Checkpoint) -> tuple[str, ...]:
    by_domain: dict[str, list[str]] = {"same": [], "cross": []}
    for score in checkpoint.scores:
        by_domain[checkpoint.find_domain(score)].append(format_score(score))
    return (
        checkpoint.name,
        f"{params_m} M" if (params_m := find_params_m(checkpoint)) else "",
        find_gflops(checkpoint) or "",
        format_size(checkpoint.artifact.size),
        describe_file(checkpoint),
        find_grade(checkpoint) or "",
        "\n".join(by_domain["same"]) or ("" if checkpoint.scores else "none published"),
        "\n".join(by_domain["cross"]),
        "yes" if is_cached(checkpoint) else "",
    )


def _make_records(checkpoint: Checkpoint) -> Iterator[tuple[Cell, ...]]:
    """Yield a row for each dataset that the checkpoint was scored on, or one row if there is no score."""
    artifact = checkpoint.artifact
    for score in checkpoint.scores or (None,):
        place = (score.dataset, checkpoint.find_domain(score)) if score else (None, None)
        figures = [score.values.get(metric) if score else None for metric in METRICS]
        yield (
            *(checkpoint.name, find_params_m(checkpoint), find_gflops(checkpoint), *place, *figures),
            *(
                artifact.size,
                describe_file(checkpoint),
                "yes" if is_cached(checkpoint) else "no",
                find_grade(checkpoint),
            ),
        )
