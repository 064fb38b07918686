"""``reidhub verify``: measure the reported scores again, and print a verdict on each."""

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

import reidhub.demo  # noqa: F401  adds its dataset to the registry
from reidhub.cache.store import Cache
from reidhub.cli.candidates import list_names_and_files
from reidhub.cli.examples import Command
from reidhub.cli.options import (
    Form,
    architecture_option,
    datasets_option,
    executor_options,
    folder_option,
    format_options,
    measuring_options,
    print_defaults,
)
from reidhub.cli.verify_output import (
    print_checks,
    print_notices,
    print_previews,
    print_problems,
    print_report,
    summarize,
)
from reidhub.errors import UsageError
from reidhub.files.atomic import explain_write_errors
from reidhub.zoo.manifest import zoo

if TYPE_CHECKING:
    from reidhub.metrics.inputs import Cameras
    from reidhub.torch_settings import Precision
    from reidhub.verification.dataset_pass import RunPass
    from reidhub.verification.file_checks import Level
    from reidhub.verification.journal import Journal
    from reidhub.verification.plan import Plan, Selection
    from reidhub.verification.results import Report
    from reidhub.verification.settings import Settings


@click.command(
    "verify",
    cls=Command,
    examples="""
    # Measure the scores of a checkpoint again, and write a report
    reidhub verify osnet_x1_0.market1501 --data-root ~/reid --html report
    # Check the files of a model, and load them; needs no dataset
    reidhub verify 'osnet_x1_0.*' --level weights
    """,
)
@click.argument("selectors", metavar="[SELECTOR]...", nargs=-1, shell_complete=list_names_and_files)
@click.option("--all", "everything", is_flag=True, help="Take every checkpoint of the zoo.")
@architecture_option
@datasets_option
@folder_option("--data-root", help="The folder that has the datasets.")
@click.option("--allow-partial", is_flag=True, help="Accept incomplete datasets; their scores are not comparable.")
@click.option(
    "--level",
    type=click.Choice(["files", "weights", "scores"]),
    default="scores",
    show_default=True,
    help="files: check that the bytes are intact. weights: also check that the weights load strictly, and that "
    "parameters and multiply-adds are the published ones. Both need no dataset, and download files if needed.",
)
@click.option("--dry-run", is_flag=True, help="Print what would run and what is missing, and run nothing.")
@click.option("--strict", is_flag=True, help="Fail if anything could not be measured.")
@measuring_options
@click.option("--normalize", is_flag=True, help="Scale embeddings to length 1 first.")
@click.option(
    "--cameras",
    type=click.Choice(["use", "ignore"]),
    default="use",
    show_default=True,
    help="ignore: count images from the camera of the query too, for datasets of one camera.",
)
@executor_options
@folder_option("--journal", help="Folder for the progress of the run, to resume it from there.")
@format_options
@click.option(
    "--receipt", type=click.Path(path_type=Path, dir_okay=False), help="Also write a receipt: all results in one file."
)
@folder_option("--html", help="Also write a report to this folder: one page, index.html.")
@click.option("--no-images", is_flag=True, help="Show file names instead of images of people in the report.")
@folder_option("--keep-embeddings", help="Also write embeddings of retrievals to this folder, as .npz files.")
def command(selectors: tuple[str, ...], **options: Any) -> None:
    """Measure the reported scores again, and print a verdict on each.

    SELECTOR is a name (osnet_x1_0.msmt17), a model (osnet_x1_0: its default checkpoint), a glob ('osnet_x1_0.*') or the
    path of a checkpoint file (my.pth). Datasets are never downloaded. For the folders that they must be in, see
    the docs, page Datasets. To resume an interrupted run, run the same command again.

    The exit code is 1 if a score deviates. It is also 1 if a checkpoint that you selected without a glob could not be
    measured.
    """
    sys.exit(_run(selectors, _Options(**options)))


_OTHER_LEVELS = "--level files and --level weights check the checkpoints themselves, without a dataset"


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of ``reidhub verify``."""

    everything: bool
    architecture: str | None
    datasets: tuple[str, ...]
    data_root: Path | None
    form: Form
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
    cameras: "Cameras"
    journal: Path | None
    keep_embeddings: Path | None
    level: Literal["files", "weights", "scores"]
    dry_run: bool
    executor: Literal["local", "ray"]
    address: str | None

    @property
    def score_options(self) -> list[str]:
        """Names of the options on the command line that are only allowed with ``--level scores``."""
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
            "--cameras": self.cameras != "use",
            "--journal": self.journal,
            "--keep-embeddings": self.keep_embeddings,
            "--dry-run": self.dry_run,
            "--executor": self.executor != "local",
        }
        return [name for name, value in given.items() if value]

    @property
    def root(self) -> Path:
        """The folder that has the datasets.

        Raises:
            UsageError: ``--data-root`` was not given, or is not a folder.
        """
        if self.data_root is None:
            raise UsageError("scores need --data-root, the folder that has the datasets", hint=_OTHER_LEVELS)
        if not self.data_root.is_dir():
            raise UsageError(
                f"the data root {self.data_root} is not a folder",
                hint="--data-root is the folder that has the datasets; see the docs, page Datasets",
            )
        return self.data_root

    def settings(self) -> "Settings":
        """Return the `Settings` of the measurement; they are made from the command-line options."""
        from reidhub.devices import find_device
        from reidhub.verification.settings import Settings

        return Settings.for_device(
            find_device(self.device),
            self.root,
            batch_size=self.batch_size,
            precision=self.precision,
            allow_partial=self.allow_partial,
            normalize=self.normalize,
            rerank=self.rerank,
            cameras=self.cameras,
        )


def _run(selectors: tuple[str, ...], options: _Options) -> int:
    """Run ``reidhub verify``, and return its exit code."""
    if options.level == "scores":
        _ = options.root  # a wrong data root is reported at once, before torch is imported
    from reidhub.verification.plan import Selection, plan

    if options.no_images and not options.html:
        raise UsageError("--no-images changes the report, which needs --html", hint="add --html DIR")
    selection = Selection.of(zoo(), selectors, everything=options.everything, architecture=options.architecture)
    print_defaults(selectors)
    print_notices(selection.checkpoints)
    if options.level != "scores":
        return _check_files(selection, options.level, options)
    jobs = plan(selection, options.datasets)
    return _preview(jobs, options) if options.dry_run else _verify(jobs, options)


def _check_files(selection: "Selection", level: "Level", options: _Options) -> int:
    from reidhub.verification.file_checks import check_files, has_failed

    if others := options.score_options:
        names = f"{', '.join(others)} {'has' if len(others) == 1 else 'have'}"
        raise UsageError(f"--level {level} measures no scores: {names} no meaning there", hint="leave one out")
    checks = list(check_files(selection, level, Cache()))
    print_checks(checks, form=options.form)
    print_problems(check for check in checks if check.state == "not run")
    click.echo(summarize([check.state for check in checks]), err=True)
    return int(has_failed(checks, strict=options.strict))


def _preview(jobs: "Plan", options: _Options) -> int:
    from reidhub.verification.dry_run import preview_plan

    previews = preview_plan(jobs, options.root, Cache(), allow_partial=options.allow_partial)
    print_previews(previews, form=options.form)
    return int(options.strict and not all(preview.runs for preview in previews))


def _verify(jobs: "Plan", options: _Options) -> int:
    from reidhub.verification.journal import choose_folder, open_journal
    from reidhub.verification.run import verify
    from reidhub.verification.settings import explain_out_of_memory

    settings, cache = options.settings(), Cache()
    if settings.emulated:
        click.echo(f"note: this {settings.device.type} emulates {settings.precision}, which is slow", err=True)
    _make_folders(options)
    folder = options.journal or choose_folder(cache.root, jobs, settings)
    with explain_out_of_memory(settings.device), open_journal(folder) as journal:
        try:
            with _open_passes(settings, options) as run_pass:
                report = verify(jobs, settings, journal, cache, run_pass=run_pass)
        except KeyboardInterrupt:
            click.echo("stopped; the same command resumes the run", err=True)
            raise
        _write_files(report, journal, settings, options)
        print_report(report, form=options.form)
        sys.stdout.flush()
        journal.discard()
    print_problems(report.not_measured)
    click.echo(summarize([result.verdict for result in report.results], report.environment.devices), err=True)
    return int(report.failed(strict=options.strict))


def _open_passes(settings: "Settings", options: _Options) -> "AbstractContextManager[RunPass]":
    """Return what embeds the images: this process, or a Ray cluster."""
    if options.executor == "ray":
        from reidhub.verification.ray_passes import open_passes

        return open_passes(settings, options.address)
    from reidhub.verification.dataset_pass import DatasetPass

    return nullcontext(DatasetPass.run)


def _make_folders(options: _Options) -> None:
    """Create the folders for the results now, so that a wrong path is reported before the measurement, not after it."""
    for folder in (options.html, options.keep_embeddings, options.receipt and options.receipt.parent):
        if folder:
            with explain_write_errors(f"make the folder {folder}", UsageError):
                folder.mkdir(parents=True, exist_ok=True)


def _write_files(report: "Report", journal: "Journal", settings: "Settings", options: _Options) -> None:
    """Write the files that the user asked for: embeddings, HTML report and receipt.

    The embeddings come from the journal, which has stored them during the measurement.
    """
    from reidhub.verification.export_embeddings import export_embeddings
    from reidhub.verification.receipt import write_receipt
    from reidhub.verification.report import make_galleries, write_report

    if options.keep_embeddings:
        for result in report.measured:
            if result.is_retrieval:
                export_embeddings(result, journal, settings, options.keep_embeddings)
    if options.html:
        page = write_report(
            report, make_galleries(report, journal, settings), options.html, images=not options.no_images
        )
        click.echo(f"wrote {page}", err=True)
    if options.receipt:
        write_receipt(report, options.receipt)
        click.echo(f"wrote {options.receipt}", err=True)
