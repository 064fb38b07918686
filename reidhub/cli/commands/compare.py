"""``reidhub compare``: two checkpoints, or two receipts, side by side."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import reidhub.demo  # noqa: F401  adds its dataset to the registry
from reidhub.cli.candidates import list_names_and_files
from reidhub.cli.examples import Command
from reidhub.cli.options import Form, datasets_option, device_option, format_options, print_defaults
from reidhub.cli.tables import Cell, print_table
from reidhub.cli.verify_output import print_notices, print_problems
from reidhub.errors import UsageError
from reidhub.zoo.manifest import is_glob, zoo

if TYPE_CHECKING:
    from reidhub.verification.comparison import Comparison, Retrieval
    from reidhub.verification.results import Report


@click.command(
    "compare",
    cls=Command,
    examples=r"""
    # Measure two checkpoints on Market-1501, and compare them
    reidhub compare osnet_x1_0.msmt17 osnet_x0_25.msmt17 \
      --data-root ~/reid --on market1501
    # Compare two receipts, which `reidhub verify --receipt FILE` wrote
    reidhub compare before.json after.json
    """,
)
@click.argument("first", metavar="A", shell_complete=list_names_and_files)
@click.argument("second", metavar="B", shell_complete=list_names_and_files)
@datasets_option
@click.option(
    "--data-root",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The folder that has the datasets; for names of checkpoints.",
)
@click.option("--allow-partial", is_flag=True, help="Accept incomplete datasets.")
@device_option
@format_options
def command(first: str, second: str, *, form: Form, **options: Any) -> None:
    """Compare two retrievals: scores, queries won and lost, and whether the difference in mAP may be chance.

    A and B are receipts (files that `reidhub verify` or `evaluate` wrote with --receipt), or names of checkpoints.
    Checkpoints are measured now. If a receipt has several checkpoints, write RECEIPT:CHECKPOINT. Both must be measured
    on the same copy of a dataset.
    """
    from reidhub.verification.comparison import compare, pair_by_dataset

    sides = [_read_side(text) for text in (first, second)]
    measuring = _Measuring(**options)
    _measure_sides(sides, measuring)
    wanted = measuring.datasets
    found = [[one for one in side.retrievals if one.dataset in wanted or not wanted] for side in sides]
    comparisons = [compare(*pair) for pair in pair_by_dataset(*found)]
    if form == "json":
        click.echo(json.dumps([_make_json(comparison) for comparison in comparisons], indent=1))
    else:
        _print_tables(comparisons, sides, form)
    _print_notes(comparisons)


@dataclass(slots=True)
class _Side:
    """A or B.

    Args:
        text: what the user wrote.
        name: name of the checkpoint to measure; None for a receipt.
        retrievals: the results; empty until they are measured.
    """

    text: str
    name: str | None
    retrievals: list["Retrieval"]


@dataclass(frozen=True, slots=True)
class _Measuring:
    """The options for checkpoints that are measured now."""

    datasets: tuple[str, ...]
    data_root: Path | None
    device: str | None
    allow_partial: bool


def _read_side(text: str) -> _Side:
    """Read a receipt, or find the checkpoint that has this name."""
    from reidhub.verification.receipt_reader import read_receipt

    if Path(text).exists():
        return _Side(text, None, read_receipt(Path(text)))
    path, _, name = text.rpartition(":")
    if path and Path(path).exists():
        retrievals = read_receipt(Path(path))
        if not (chosen := [one for one in retrievals if one.checkpoint == name]):
            names = ", ".join(dict.fromkeys(one.checkpoint for one in retrievals))
            raise UsageError(
                f"the receipt {path} has no measured result of {name!r}", hint=f"it has: {names or 'none'}"
            )
        return _Side(text, None, chosen)
    if "/" in text or text.endswith(".json"):
        raise UsageError(f"there is no receipt {text}", hint="`reidhub verify --receipt FILE` writes a receipt")
    if is_glob(text):
        raise UsageError(f"expected the name of one checkpoint, got the pattern {text!r}")
    return _Side(text, zoo().find(text)[0].name, [])


def _measure_sides(sides: Sequence[_Side], options: _Measuring) -> None:
    """Measure the sides that are checkpoints, on the datasets of the receipt if the other side is one."""
    from reidhub.verification.comparison import Retrieval

    named = [side for side in sides if side.name]
    if not named:
        return
    names = tuple(dict.fromkeys(side.text for side in named))
    print_defaults(names)
    datasets = tuple(dict.fromkeys(one.dataset for side in sides for one in side.retrievals))
    report = _measure(names, options.datasets or datasets, options)
    print_problems(report.not_measured)
    for side in named:
        side.retrievals = [Retrieval.of(one) for one in report.measured if one.job.checkpoint.name == side.name]
    if missing := [side.text for side in named if not side.retrievals]:
        click.echo(f"error: {' and '.join(missing)} could not be measured", err=True)
        sys.exit(1)


def _measure(names: tuple[str, ...], datasets: tuple[str, ...], options: _Measuring) -> "Report":
    from reidhub.devices import find_device
    from reidhub.verification.calls import verify
    from reidhub.verification.plan import Selection
    from reidhub.verification.settings import explain_out_of_memory

    if options.data_root is None:
        raise UsageError(f"{' and '.join(names)} must be measured, which needs --data-root", hint="or name receipts")
    print_notices(Selection.of(zoo(), names).checkpoints)
    device = find_device(options.device)
    with explain_out_of_memory(device):
        return verify(names, options.data_root, datasets=datasets, device=device, allow_partial=options.allow_partial)


def _print_tables(comparisons: Sequence["Comparison"], sides: Sequence[_Side], form: Form) -> None:
    for letter, side in zip("AB", sides, strict=True):
        name = side.retrievals[0].checkpoint
        click.echo(f"{letter}: {name}" + ("" if side.name else f" ({side.text})"), err=form != "table")
    header = ("dataset", "metric", "A", "B", "B - A", "95 % from", "to")
    rows = [row for comparison in comparisons for row in _make_rows(comparison)]
    print_table(header, rows, right=header[2:], form=form)


def _make_rows(comparison: "Comparison") -> list[tuple[Cell, ...]]:
    dataset, interval = comparison.first.dataset, comparison.difference
    first, second = comparison.first.percentages, comparison.second.percentages
    won, lost, tied = comparison.won, comparison.lost, comparison.tied
    rows: list[tuple[Cell, ...]] = []
    for metric in first:
        ends = (100 * interval.low, 100 * interval.high) if metric == "mAP" else (None, None)
        rows.append((dataset, metric, first[metric], second[metric], second[metric] - first[metric], *ends))
    rows.append((dataset, "queries won", lost, won, won - lost, None, None))
    rows.append((dataset, "queries tied", tied, tied, None, None, None))
    return rows


def _print_notes(comparisons: Sequence["Comparison"]) -> None:
    for comparison in comparisons:
        dataset = comparison.first.dataset
        for name, (first, second) in comparison.changed_conditions.items():
            click.echo(f"note: {dataset}: {name} is {first} for A and {second} for B", err=True)
        if comparison.difference.may_be_chance:
            click.echo(f"note: {dataset}: the difference in mAP may be chance: its interval contains 0", err=True)


def _make_json(comparison: "Comparison") -> dict[str, Any]:
    first, second = comparison.first.percentages, comparison.second.percentages
    interval = comparison.difference
    return {
        "dataset": comparison.first.dataset,
        "first": {"checkpoint": comparison.first.checkpoint, **first},
        "second": {"checkpoint": comparison.second.checkpoint, **second},
        "difference": {metric: second[metric] - first[metric] for metric in first},
        "mAP_interval": [100 * interval.low, 100 * interval.high],
        "may_be_chance": interval.may_be_chance,
        "queries": interval.queries,
        "won": comparison.won,
        "lost": comparison.lost,
        "tied": comparison.tied,
        "changed_conditions": {name: list(pair) for name, pair in comparison.changed_conditions.items()},
    }
