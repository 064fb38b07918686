"""What ``reidhub verify`` says: tables and JSON on stdout, notes on stderr."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from reidhub.cli.describe import unpinned_notice
from reidhub.cli.tables import human_size, print_table
from reidhub.verification.results import Figure, Inspection, Measured, NotMeasured, Report, Result

if TYPE_CHECKING:
    from reidhub.verification.dry_run import Prospect, Share
    from reidhub.zoo.checkpoint import Checkpoint


_FEW = 3  # unpinned checkpoints that are told of one by one


def tell_notices(checkpoints: Sequence["Checkpoint"]) -> None:
    """Say once what every user has to be told."""
    unpinned = [notice for checkpoint in checkpoints if (notice := unpinned_notice(checkpoint))]
    if len(unpinned) > _FEW:
        names = ", ".join(checkpoint.name for checkpoint in checkpoints if unpinned_notice(checkpoint))
        unpinned = [f"{len(unpinned)} checkpoints are unpinned, no sha256 of them is known: {names}"]
    for notice in dict.fromkeys([*unpinned, *(notice for c in checkpoints for notice in c.notices)]):
        click.echo(f"note: {notice}", err=True)


def print_report(report: Report, *, as_data: bool) -> None:
    """The table, or the results as JSON."""
    if as_data:
        from reidhub.verification.receipt import as_json

        click.echo(json.dumps(as_json(report)["results"], indent=1))
        return
    header = ("checkpoint", "dataset", "metric", "reported", "measured", "hits", "verdict", "note")
    rows = [row for result in report.results for row in _rows(result)]
    print_table(header, rows, right=("reported", "measured", "hits"))


def print_inspections(inspections: Sequence[Inspection], *, as_data: bool) -> None:
    """A line for each checkpoint, or JSON."""
    if as_data:
        click.echo(json.dumps([_inspection_json(inspection) for inspection in inspections], indent=1))
        return
    header = ("checkpoint", "size", "sha256", "params", "measured", "GFLOPs", "measured", "state")
    rows = [_inspection_row(inspection) for inspection in inspections]
    print_table(header, rows, right=("size", "params", "measured", "GFLOPs"))


def print_prospects(prospects: Sequence["Prospect"], *, as_data: bool) -> None:
    """What would run and what is missing, or JSON."""
    if as_data:
        click.echo(json.dumps([_prospect_json(prospect) for prospect in prospects], indent=1))
    else:
        header = ("checkpoint", "dataset", "images", "weights", "would run")
        print_table(header, [_prospect_row(prospect) for prospect in prospects], right=("images",))
    for share in {prospect.share.name: prospect.share for prospect in prospects}.values():
        if share.missing:
            click.echo(f"note: {share.missing}\n  expected below the data root: {share.expected}", err=True)
    click.echo(_work(prospects), err=True)


def tell_problems(missing: Iterable[NotMeasured | Inspection]) -> None:
    """Each reason in full, once; behind those that the same can be done about, what that is."""
    grouped: dict[str | None, dict[str | None, list[NotMeasured | Inspection]]] = {}
    for result in missing:
        grouped.setdefault(result.hint, {}).setdefault(result.reason, []).append(result)
    for hint, by_reason in grouped.items():
        for reason, results in by_reason.items():
            level = "error" if any(result.by_name for result in results) else "note"
            click.echo(f"{level}: {reason}", err=True)
        if hint:
            click.echo(f"hint: {hint}", err=True)


def summary(words: Sequence[str], devices: Sequence[str] = ()) -> str:
    """How often each word occurs, in the order in which they come."""
    counts = ", ".join(f"{count} {word}" for word, count in Counter(words).items())
    return counts + (f" (on {', '.join(devices)})" if devices else "")


def _rows(result: Result) -> Iterator[tuple[str, ...]]:
    """One row for each reported figure; for each measured one where none is reported."""
    note = _note(result)
    for figure in result.shown_figures:
        yield (*result.job.key, *_cells(figure, result), figure.verdict or result.verdict, note)


def _cells(figure: Figure, result: Result) -> tuple[str, ...]:
    measured = "" if figure.measured is None else f"{figure.measured:.3f}"
    queries = result.measurement.queries if isinstance(result, Measured) else 0
    hits = "" if figure.hits is None else f"{figure.hits}/{queries}"
    return figure.metric, figure.reported or "", measured, hits


def _note(result: Result) -> str:
    notes = [result.reason.splitlines()[0]] if result.reason else []
    if isinstance(result, Measured) and result.conditions.precision != "fp32":
        notes.append(f"in {result.conditions.precision}")
    return "; ".join(notes)


def _inspection_row(inspection: Inspection) -> tuple[str, ...]:
    checkpoint, file = inspection.checkpoint, inspection.file
    return (
        checkpoint.name,
        human_size(file.size) if file else "",
        file.sha256[:8] if file else "",
        checkpoint.params_m or "",
        f"{inspection.params_m:.3f}" if inspection.params_m is not None else "",
        checkpoint.gflops or "",
        f"{inspection.gflops:.3f}" if inspection.gflops is not None else "",
        inspection.state + (f": {inspection.reason.splitlines()[0]}" if inspection.reason else ""),
    )


def _inspection_json(inspection: Inspection) -> dict[str, Any]:
    file, checkpoint = inspection.file, inspection.checkpoint
    return {
        "checkpoint": checkpoint.name,
        "state": inspection.state,
        "reason": inspection.reason,
        "file": {"sha256": file.sha256, "size": file.size, "held_to": file.held_to} if file else None,
        "params_m": {"reported": checkpoint.params_m, "measured": inspection.params_m},
        "gflops": {"reported": checkpoint.gflops, "measured": inspection.gflops},
    }


def _prospect_row(prospect: "Prospect") -> tuple[str, ...]:
    checkpoint, share = prospect.job.checkpoint, prospect.share
    weights = "cached" if prospect.cached else f"to be fetched, {human_size(checkpoint.artifact.size)}"
    problem = prospect.refused or (share.missing.splitlines()[0] if share.missing else "")
    return checkpoint.name, share.name, str(share.images or ""), weights, f"no: {problem}" if problem else "yes"


def _prospect_json(prospect: "Prospect") -> dict[str, Any]:
    share = prospect.share
    return {
        "checkpoint": prospect.job.checkpoint.name,
        "dataset": share.name,
        "runs": prospect.runs,
        "refused": prospect.refused,
        "weights": {"cached": prospect.cached, "size": prospect.job.checkpoint.artifact.size},
        "images": share.images,
        "bytes": share.size,
        "missing": share.missing,
        "expected": share.expected,
    }


def _work(prospects: Sequence["Prospect"]) -> str:
    """The work of the whole run in one line; each dataset is decoded once for each size of its images."""
    running = [prospect for prospect in prospects if prospect.runs]
    passes = {(p.share.name, p.job.checkpoint.input.height): p.share for p in running}
    shares: list[Share] = list(passes.values())
    images, size = sum(share.images for share in shares), sum(share.size for share in shares)
    return (
        f"{len(running)} of {len(prospects)} would run: {images:,} images to decode ({human_size(size)}), "
        f"{sum(prospect.share.images for prospect in running):,} embeddings; nothing was run"
    )
