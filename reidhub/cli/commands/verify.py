"""``reidhub verify``: reported scores measured again; a verdict on each to stdout."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

import reidhub.demo  # noqa: F401  adds its dataset to the registry
from reidhub.cache.store import Cache
from reidhub.cli.verify_output import (
    print_inspections,
    print_prospects,
    print_report,
    summary,
    tell_notices,
    tell_problems,
)
from reidhub.errors import UsageError
from reidhub.files.atomic import explain_write_errors
from reidhub.zoo.manifest import zoo

if TYPE_CHECKING:
    from reidhub.verification.file_checks import Level
    from reidhub.verification.journal import Journal
    from reidhub.verification.plan import Plan, Selection
    from reidhub.verification.results import Precision, Report
    from reidhub.verification.settings import Settings

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("verify")
@click.argument("selectors", metavar="[SELECTOR]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every checkpoint of the zoo.")
@click.option("--on", "datasets", metavar="DATASET", multiple=True, help="Only on this dataset; may be repeated.")
@click.option("--data-root", type=_FOLDER, help="The folder that datasets are kept in.")
@click.option("--json", "as_data", is_flag=True, help="A list of objects, for programs.")
@click.option("--receipt", type=click.Path(path_type=Path, dir_okay=False), help="Also write everything to this file.")
@click.option("--html", type=_FOLDER, help="Also write a report as one page, index.html in this folder.")
@click.option("--no-images", is_flag=True, help="File names in the report in the place of images of people.")
@click.option("--strict", is_flag=True, help="Whatever could not be run is a failure.")
@click.option("--allow-partial", is_flag=True, help="Take datasets that are not whole; no score is comparable then.")
@click.option("--device", help="cpu or cuda; the GPU where there is one.")
@click.option("--precision", type=click.Choice(["fp32", "tf32", "bf16", "fp16"]), default="fp32", show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), help="Images per batch.")
@click.option("--normalize", is_flag=True, help="Make embeddings length 1 first.")
@click.option("--rerank", is_flag=True, help="Rank by k-reciprocal re-ranking.")
@click.option(
    "--level",
    type=click.Choice(["files", "weights", "scores"]),
    default="scores",
    show_default=True,
    help="files: bytes are intact; weights: they load strictly and cost what is printed. Neither needs a dataset; "
    "what is not in the cache is downloaded.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would run and what is missing.")
@click.option("--keep-embeddings", metavar="DIR", type=_FOLDER, help="Keep embeddings of retrievals as .npz files.")
@click.option("--journal", type=_FOLDER, help="Where a killed run goes on from; a folder of its own for each run.")
def command(selectors: tuple[str, ...], **options: Any) -> None:
    """Measure reported scores again and pass a verdict on each.

    SELECTOR is a name (osnet_x1_0.msmt17), a model (osnet_x1_0: its default checkpoint) or a glob ('osnet_x1_0.*').
    Datasets are read where they are and never downloaded; docs/datasets.md tells how they must lie. A run that was
    killed goes on where it stopped when the same command is given again.

    Exit code 1: a score deviates, or one that was asked for by exact name could not be run.
    """
    sys.exit(_run(selectors, _Options(**options)))


_OTHER_LEVELS = "without a dataset, --level files and --level weights look at the checkpoints themselves"


@dataclass(frozen=True, slots=True)
class _Options:
    """What was said on the command line."""

    everything: bool
    datasets: tuple[str, ...]
    data_root: Path | None
    as_data: bool
    receipt: Path | None
    html: Path | None
    no_images: bool
    strict: bool
    allow_partial: bool
    device: str | None
    precision: "Precision"
    batch_size: int | None
    normalize: bool
    rerank: bool
    journal: Path | None
    keep_embeddings: Path | None
    level: Literal["files", "weights", "scores"]
    dry_run: bool

    @property
    def of_scores(self) -> list[str]:
        """The options that were given and mean nothing but for scores."""
        given = {
            "--on": self.datasets,
            "--receipt": self.receipt,
            "--html": self.html,
            "--allow-partial": self.allow_partial,
            "--device": self.device,
            "--precision": self.precision != "fp32",
            "--batch-size": self.batch_size,
            "--normalize": self.normalize,
            "--rerank": self.rerank,
            "--journal": self.journal,
            "--keep-embeddings": self.keep_embeddings,
            "--dry-run": self.dry_run,
        }
        return [name for name, value in given.items() if value]

    @property
    def root(self) -> Path:
        """The data root.

        Raises:
            UsageError: none was given, or it is no folder.
        """
        if self.data_root is None:
            raise UsageError("scores need --data-root, the folder that datasets are kept in", hint=_OTHER_LEVELS)
        if not self.data_root.is_dir():
            raise UsageError(
                f"the data root {self.data_root} is not a folder",
                hint="--data-root is the folder that datasets are kept in; docs/datasets.md says how they lie there",
            )
        return self.data_root

    def settings(self) -> "Settings":
        """How to measure."""
        from reidhub.torch_settings import find_device
        from reidhub.verification.settings import Settings

        return Settings.on(
            find_device(self.device),
            self.root,
            batch_size=self.batch_size,
            precision=self.precision,
            allow_partial=self.allow_partial,
            normalize=self.normalize,
            rerank=self.rerank,
        )


def _run(selectors: tuple[str, ...], options: _Options) -> int:
    """The exit code."""
    if options.level == "scores":
        _ = options.root  # told at once, before anything heavy is imported
    from reidhub.verification.plan import Selection, plan

    if options.no_images and not options.html:
        raise UsageError("--no-images is about the report", hint="name a folder for it with --html")
    selection = Selection.of(zoo(), selectors, everything=options.everything)
    tell_notices(selection.checkpoints)
    if options.level != "scores":
        return _inspect(selection, options.level, options)
    jobs = plan(selection, options.datasets)
    return _rehearse(jobs, options) if options.dry_run else _verify(jobs, options)


def _inspect(selection: "Selection", level: "Level", options: _Options) -> int:
    from reidhub.verification.file_checks import failed, inspect

    if others := options.of_scores:
        named = ", ".join(others)
        raise UsageError(f"--level {level} measures no scores, which {named} is for", hint="leave one of the two out")
    inspections = list(inspect(selection, level, Cache()))
    print_inspections(inspections, as_data=options.as_data)
    tell_problems(inspection for inspection in inspections if inspection.state == "not run")
    click.echo(summary([inspection.state for inspection in inspections]), err=True)
    return int(failed(inspections, strict=options.strict))


def _rehearse(jobs: "Plan", options: _Options) -> int:
    from reidhub.verification.dry_run import rehearse

    prospects = rehearse(jobs, options.root, Cache(), allow_partial=options.allow_partial)
    print_prospects(prospects, as_data=options.as_data)
    return int(options.strict and not all(prospect.runs for prospect in prospects))


def _verify(jobs: "Plan", options: _Options) -> int:
    from reidhub.verification.journal import default_journal, open_journal
    from reidhub.verification.run import verify
    from reidhub.verification.settings import explain_out_of_memory

    settings, cache = options.settings(), Cache()
    if settings.emulated:
        click.echo(f"note: this {settings.device.type} emulates {settings.precision}, which takes long", err=True)
    _make_folders(options)
    folder = options.journal or default_journal(cache.root, jobs, settings)
    with explain_out_of_memory(settings.device), open_journal(folder) as journal:
        try:
            report = verify(jobs, settings, journal, cache)
        except KeyboardInterrupt:
            click.echo("stopped; the same command goes on from here", err=True)
            raise
        _write_files(report, journal, settings, options)
        print_report(report, as_data=options.as_data)
        sys.stdout.flush()
        journal.discard()
    tell_problems(report.not_measured)
    click.echo(summary([result.verdict for result in report.results], report.environment.devices), err=True)
    return int(report.failed(strict=options.strict))


def _make_folders(options: _Options) -> None:
    """For what is written in the end, before hours are spent."""
    for folder in (options.html, options.keep_embeddings, options.receipt and options.receipt.parent):
        if folder:
            with explain_write_errors(f"make the folder {folder}", UsageError):
                folder.mkdir(parents=True, exist_ok=True)


def _write_files(report: "Report", journal: "Journal", settings: "Settings", options: _Options) -> None:
    """What was asked for beside the table; the journal still has all embeddings."""
    from reidhub.verification.export_embeddings import keep_embeddings
    from reidhub.verification.receipt import write_receipt
    from reidhub.verification.report import galleries_of, write_report

    if options.keep_embeddings:
        for result in report.measured:
            if result.is_retrieval:
                keep_embeddings(result, journal, settings, options.keep_embeddings)
    if options.html:
        page = write_report(report, galleries_of(report, journal, settings), options.html, images=not options.no_images)
        click.echo(f"wrote {page}", err=True)
    if options.receipt:
        write_receipt(report, options.receipt)
        click.echo(f"wrote {options.receipt}", err=True)
