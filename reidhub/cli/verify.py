"""``reidhub verify``: reported scores measured again; a verdict on each to stdout."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reidhub.cache import Cache
from reidhub.cli.describe import unpinned_notice
from reidhub.cli.tables import print_table
from reidhub.manifest import zoo

if TYPE_CHECKING:
    from reidhub.verification.plan import Plan
    from reidhub.verification.results import Figure, Precision, Report, Result
    from reidhub.verification.settings import Settings

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("verify")
@click.argument("selectors", metavar="[SELECTOR]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every checkpoint of the zoo.")
@click.option("--on", "datasets", metavar="DATASET", multiple=True, help="Only on this dataset; may be repeated.")
@click.option("--data-root", type=_FOLDER, required=True, help="The folder that datasets are kept in.")
@click.option("--json", "as_data", is_flag=True, help="A list of objects, for programs.")
@click.option("--receipt", type=click.Path(path_type=Path, dir_okay=False), help="Also write everything to this file.")
@click.option("--strict", is_flag=True, help="Whatever could not be run is a failure.")
@click.option("--allow-partial", is_flag=True, help="Take datasets that are not whole; no score is comparable then.")
@click.option("--device", help="cpu or cuda; the GPU where there is one.")
@click.option("--precision", type=click.Choice(["fp32", "tf32", "bf16", "fp16"]), default="fp32", show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), help="Images per batch.")
@click.option("--normalize", is_flag=True, help="Make embeddings length 1 first.")
@click.option("--rerank", is_flag=True, help="Rank by k-reciprocal re-ranking.")
@click.option("--journal", type=_FOLDER, help="Where a killed run goes on from; a folder of its own for each run.")
def command(selectors: tuple[str, ...], **options: Any) -> None:
    """Measure reported scores again and pass a verdict on each.

    SELECTOR is a name (osnet_x1_0.msmt17), a model (osnet_x1_0: its default checkpoint) or a glob ('osnet_x1_0.*').
    Datasets are read where they are and never downloaded; docs/datasets.md tells how they must lie. A run that was
    killed goes on where it stopped when the same command is given again.

    Exit code 1: a score deviates, or one that was asked for by exact name could not be run.
    """
    sys.exit(_run(selectors, _Options(**options)))


@dataclass(frozen=True, slots=True)
class _Options:
    """What was said on the command line."""

    everything: bool
    datasets: tuple[str, ...]
    data_root: Path
    as_data: bool
    receipt: Path | None
    strict: bool
    allow_partial: bool
    device: str | None
    precision: "Precision"
    batch_size: int | None
    normalize: bool
    rerank: bool
    journal: Path | None

    def settings(self) -> "Settings":
        """How to measure."""
        from reidhub.verification.settings import Settings, device_of

        return Settings.on(
            device_of(self.device),
            self.data_root,
            batch_size=self.batch_size,
            precision=self.precision,
            allow_partial=self.allow_partial,
            normalize=self.normalize,
            rerank=self.rerank,
        )


def _run(selectors: tuple[str, ...], options: _Options) -> int:
    """The exit code."""
    from reidhub.verification.journal import default_journal, open_journal
    from reidhub.verification.plan import plan
    from reidhub.verification.receipt import as_json, write_receipt
    from reidhub.verification.run import verify

    jobs = plan(zoo(), selectors, options.datasets, everything=options.everything)
    settings = options.settings()
    cache = Cache()
    _tell_notices(jobs)
    with open_journal(options.journal or default_journal(cache.root, jobs, settings)) as journal:
        report = verify(jobs, settings, journal, cache)
        if options.receipt:
            write_receipt(report, options.receipt)
        if options.as_data:
            click.echo(json.dumps(as_json(report)["results"], indent=1))
        else:
            _print(report)
        sys.stdout.flush()
        journal.discard()
    _tell_problems(report)
    click.echo(_summary(report), err=True)
    return int(report.failed(strict=options.strict))


def _tell_notices(jobs: "Plan") -> None:
    for checkpoint in jobs.checkpoints:
        if notice := unpinned_notice(checkpoint):
            click.echo(f"note: {notice}", err=True)
    for notice in dict.fromkeys(notice for checkpoint in jobs.checkpoints for notice in checkpoint.notices):
        click.echo(f"note: {notice}", err=True)


def _print(report: "Report") -> None:
    header = ("checkpoint", "dataset", "metric", "reported", "measured", "hits", "verdict", "note")
    rows = [row for result in report.results for row in _rows(result)]
    print_table(header, rows, right=("reported", "measured", "hits"))


def _rows(result: "Result") -> Iterator[tuple[str, ...]]:
    """One row for each reported figure; for each measured one where none is reported."""
    shown = [figure for figure in result.figures if figure.reported or result.score is None]
    note = _note(result)
    for figure in shown:
        cells = _cells(figure, result)
        yield (result.checkpoint.name, result.dataset, *cells, figure.verdict or result.verdict, note)
    if not shown:
        yield (result.checkpoint.name, result.dataset, "", "", "", "", result.verdict, note)


def _cells(figure: "Figure", result: "Result") -> tuple[str, ...]:
    measured = "" if figure.measured is None else f"{figure.measured:.3f}"
    queries = result.measurement.queries if result.measurement else 0
    hits = "" if figure.hits is None else f"{figure.hits}/{queries}"
    return figure.metric, figure.reported or "", measured, hits


def _note(result: "Result") -> str:
    notes = [result.reason.splitlines()[0]] if result.reason else []
    if result.conditions and result.conditions.precision != "fp32":
        notes.append(f"in {result.conditions.precision}")
    return "; ".join(notes)


def _tell_problems(report: "Report") -> None:
    """Each reason in full, once, with what can be done about it."""
    missing = [result for result in report.results if result.measurement is None]
    for reason, hint in dict.fromkeys((result.reason, result.hint) for result in missing):
        of = [result for result in missing if (result.reason, result.hint) == (reason, hint)]
        level = "error" if any(result.by_name for result in of) else "note"
        click.echo(f"{level}: {reason}" + (f"\nhint: {hint}" if hint else ""), err=True)


def _summary(report: "Report") -> str:
    from reidhub.verification.results import VERDICTS

    found = [result.verdict for result in report.results]
    counts = ", ".join(f"{found.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in found)
    return f"{counts}" + (f" (on {', '.join(report.environment.devices)})" if report.environment.devices else "")
