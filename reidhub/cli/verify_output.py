"""The output of ``reidhub verify``: tables and JSON on stdout, notes on stderr."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from reidhub.cli.options import Form
from reidhub.cli.tables import Cell, format_size, print_table
from reidhub.verification.results import PARTIAL_COPY, Measured, NotMeasured, Report, Result
from reidhub.zoo.checkpoint import OwnCheckpoint
from reidhub.zoo.describe import write_unpinned_notice

if TYPE_CHECKING:
    from reidhub.verification.dry_run import JobPreview
    from reidhub.verification.file_checks import FileCheck
    from reidhub.zoo.checkpoint import Checkpoint


_FEW = 3  # up to this number of checkpoints without a known sha256, each has its own notice


def print_notices(checkpoints: Sequence["Checkpoint"]) -> None:
    """Print on stderr what the users' own files are, the notices in the manifest, and the files without a known sha256.

    If several checkpoints have the same notice, it is printed once.
    """
    for checkpoint in checkpoints:
        if isinstance(checkpoint, OwnCheckpoint):
            click.echo(f"note: {_describe_own(checkpoint)}", err=True)
    unpinned = [notice for checkpoint in checkpoints if (notice := write_unpinned_notice(checkpoint))]
    if len(unpinned) > _FEW:
        names = ", ".join(checkpoint.name for checkpoint in checkpoints if write_unpinned_notice(checkpoint))
        unpinned = [f"{len(unpinned)} checkpoints are unpinned: their sha256 is not known: {names}"]
    for notice in dict.fromkeys([*unpinned, *(notice for c in checkpoints for notice in c.notices)]):
        click.echo(f"note: {notice}", err=True)


def _describe_own(checkpoint: OwnCheckpoint) -> str:
    if checkpoint.name != str(checkpoint.path):
        return f"{checkpoint.path} has the bytes of {checkpoint.name}"
    classes = checkpoint.spec.num_classes
    trained = "ImageNet weights, which cannot tell people apart" if not checkpoint.for_reid else f"{classes} classes"
    return f"{checkpoint.path} has the architecture {checkpoint.model}, {trained if classes else 'no classifier'}"


def print_report(report: Report, *, form: Form) -> None:
    """Print the results of a verification in the form of ``--format``, with a row for each shown figure.

    Each incomplete copy of a dataset is described on stderr.
    """
    if form == "json":
        from reidhub.verification.receipt import as_json

        click.echo(json.dumps(as_json(report)["results"], indent=1))
        return
    hits = ("hits",) if form == "table" else ("hits", "queries")
    header = ("checkpoint", "dataset", "metric", "reported", "measured", *hits, "verdict", "note")
    rows = [row for result in report.results for row in _rows(result, with_queries=form != "table")]
    print_table(header, rows, right=("reported", "measured", *hits), form=form, shared=2)
    for copy in {result.copy.name: result.copy for result in report.measured if result.copy.partial}.values():
        click.echo(f"note: {PARTIAL_COPY} of {copy.name}: {copy.partial}", err=True)


def print_checks(checks: Sequence["FileCheck"], *, form: Form) -> None:
    """Print the results of file checks in the form of ``--format``, with a row for each checkpoint."""
    if form == "json":
        click.echo(json.dumps([_check_json(check) for check in checks], indent=1))
    elif form == "table":
        header = ("checkpoint", "size", "sha256", "params", "measured", "GFLOPs", "measured", "state")
        rows = [_check_row(check) for check in checks]
        print_table(header, rows, right=("size", "params", "measured", "GFLOPs"))
    else:
        numbers = ("size", "params_m", "measured_params_m", "gflops", "measured_gflops")
        records = [_check_record(check) for check in checks]
        print_table(("checkpoint", *numbers, "sha256", "state", "reason"), records, right=numbers, form=form)


def print_previews(previews: Sequence["JobPreview"], *, form: Form) -> None:
    """Print which measurements would run, in the form of ``--format``, and on stderr which datasets are missing."""
    if form == "json":
        click.echo(json.dumps([_preview_json(preview) for preview in previews], indent=1))
    elif form == "table":
        header = ("checkpoint", "dataset", "images", "weights", "would run")
        print_table(header, [_preview_row(preview) for preview in previews], right=("images",))
    else:
        numbers = ("images", "bytes", "size")
        records = [_preview_record(preview) for preview in previews]
        print_table(("checkpoint", "dataset", *numbers, "cached", "runs", "reason"), records, right=numbers, form=form)
    for dataset in {preview.dataset.name: preview.dataset for preview in previews}.values():
        if dataset.missing:
            expected = f"\n  expected below the data root: {dataset.expected}" if dataset.expected else ""
            click.echo(f"note: {dataset.missing}{expected}", err=True)
    click.echo(_summarize_work(previews), err=True)


def print_problems(problems: Iterable["NotMeasured | FileCheck"]) -> None:
    """Print on stderr why measurements and checks were not possible; each reason and each hint is printed once."""
    by_hint: dict[str | None, dict[str | None, list[NotMeasured | FileCheck]]] = {}
    for problem in problems:
        by_hint.setdefault(problem.hint, {}).setdefault(problem.reason, []).append(problem)
    for hint, by_reason in by_hint.items():
        for reason, alike in by_reason.items():
            level = "error" if any(problem.by_name for problem in alike) else "note"
            click.echo(f"{level}: {reason}", err=True)
        if hint:
            click.echo(f"hint: {hint}", err=True)


def summarize(words: Sequence[str], devices: Sequence[str] = ()) -> str:
    """Count how often each word occurs, and return a text such as ``2 reproduced, 1 close (on cpu)``.

    Args:
        words: the words; the text has them in the order in which they first occur.
        devices: names of the devices, which are added in parentheses.
    """
    counts = ", ".join(f"{count} {word}" for word, count in Counter(words).items())
    return counts + (f" (on {', '.join(devices)})" if devices else "")


def _rows(result: Result, *, with_queries: bool) -> Iterator[tuple[Cell, ...]]:
    """Yield the table rows of one result: one row for each score that is shown, such as rank-1 and mAP.

    Args:
        result: the result.
        with_queries: write hits and queries into two cells, not into one such as ``84/90``.
    """
    queries = result.measurement.queries if isinstance(result, Measured) else None
    for figure in result.shown_figures:
        joined = None if figure.hits is None else f"{figure.hits}/{queries}"
        yield (
            *(*result.job.key, figure.metric, figure.reported, figure.measured),
            *((figure.hits, queries) if with_queries else (joined,)),
            *(figure.verdict or result.verdict, _note(result)),
        )


def _note(result: Result) -> str:
    notes = [_first_line(result.short_reason)] if result.short_reason else []
    if isinstance(result, Measured) and result.conditions.precision not in ("fp32", "exact"):
        notes.append(f"in {result.conditions.precision}")
    return "; ".join(notes)


def _check_row(check: "FileCheck") -> tuple[str, ...]:
    checkpoint, file = check.checkpoint, check.file
    return (
        checkpoint.name,
        format_size(file.size) if file else "",
        file.sha256[:8] if file else "",
        checkpoint.params_m or "",
        f"{check.params_m:.3f}" if check.params_m is not None else "",
        checkpoint.gflops or "",
        f"{check.gflops:.3f}" if check.gflops is not None else "",
        check.state + (f": {_first_line(check.reason)}" if check.reason else ""),
    )


def _check_record(check: "FileCheck") -> tuple[Cell, ...]:
    checkpoint, file = check.checkpoint, check.file
    figures = (checkpoint.params_m, check.params_m, checkpoint.gflops, check.gflops)
    digest = file.sha256 if file else None
    return checkpoint.name, file.size if file else None, *figures, digest, check.state, _first_line(check.reason)


def _check_json(check: "FileCheck") -> dict[str, Any]:
    file, checkpoint = check.file, check.checkpoint
    return {
        "checkpoint": checkpoint.name,
        "state": check.state,
        "reason": check.reason,
        "file": {"sha256": file.sha256, "size": file.size, "held_to": file.held_to} if file else None,
        "params_m": {"reported": checkpoint.params_m, "measured": check.params_m},
        "gflops": {"reported": checkpoint.gflops, "measured": check.gflops},
    }


def _preview_row(preview: "JobPreview") -> tuple[str, ...]:
    checkpoint, dataset = preview.job.checkpoint, preview.dataset
    weights = "cached" if preview.cached else f"to be fetched, {format_size(checkpoint.artifact.size)}"
    problem = _first_line(preview.refused or dataset.missing)
    return checkpoint.name, dataset.name, str(dataset.images or ""), weights, f"no: {problem}" if problem else "yes"


def _preview_record(preview: "JobPreview") -> tuple[Cell, ...]:
    checkpoint, dataset = preview.job.checkpoint, preview.dataset
    words = ["yes" if answer else "no" for answer in (preview.cached, preview.runs)]
    problem = _first_line(preview.refused or dataset.missing)
    return checkpoint.name, dataset.name, dataset.images, dataset.size, checkpoint.artifact.size, *words, problem


def _preview_json(preview: "JobPreview") -> dict[str, Any]:
    dataset = preview.dataset
    return {
        "checkpoint": preview.job.checkpoint.name,
        "dataset": dataset.name,
        "runs": preview.runs,
        "refused": preview.refused,
        "weights": {"cached": preview.cached, "size": preview.job.checkpoint.artifact.size},
        "images": dataset.images,
        "bytes": dataset.size,
        "missing": dataset.missing,
        "expected": dataset.expected,
    }


def _summarize_work(previews: Sequence["JobPreview"]) -> str:
    """Describe in one line how many jobs would run, and how many images they would decode and embed.

    Jobs with the same dataset whose images are resized in the same way share the decoding, so these images are decoded
    only once. But every job embeds them.
    """
    running = [preview for preview in previews if preview.runs]
    inputs = [(preview.dataset, preview.job.checkpoint.input) for preview in running]
    passes = {(data.name, spec.height, spec.width, spec.interpolation): data for data, spec in inputs}
    images, size = sum(data.images for data in passes.values()), sum(data.size for data in passes.values())
    return (
        f"{len(running)} of {len(previews)} would run: {images:,} images to decode ({format_size(size)}), "
        f"{sum(preview.dataset.images for preview in running):,} embeddings; nothing was run"
    )


def _first_line(text: str | None) -> str:
    return text.splitlines()[0] if text else ""
