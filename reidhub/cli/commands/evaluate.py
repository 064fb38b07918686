"""``reidhub evaluate``: score checkpoints on your own images."""

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reidhub.cache.store import Cache
from reidhub.cli.candidates import list_names_and_files
from reidhub.cli.examples import Command
from reidhub.cli.options import (
    Form,
    architecture_option,
    folder_option,
    format_options,
    measuring_options,
    print_defaults,
)
from reidhub.cli.tables import Cell, print_table
from reidhub.cli.verify_output import print_notices, print_problems
from reidhub.datasets.own_images import OwnImages
from reidhub.errors import UsageError

if TYPE_CHECKING:
    from reidhub.datasets.own_images import Layout
    from reidhub.metrics.inputs import Cameras
    from reidhub.torch_settings import Precision
    from reidhub.verification.own_data import OwnDataRun, RetrievalScores
    from reidhub.verification.results import Report

_SCORES = ("rank1", "rank5", "rank10", "mAP", "mINP")


@click.command(
    "evaluate",
    cls=Command,
    examples="""
    # Score your own checkpoint on images that are named as in Market-1501
    reidhub evaluate my.pth --data shop
    # Score it and a checkpoint of the zoo on the images of a CSV file
    reidhub evaluate my.pth osnet_x1_0.msmt17 --data images.csv --layout csv
    """,
)
@click.argument("models", metavar="NAME-or-FILE...", nargs=-1, required=True, shell_complete=list_names_and_files)
@click.option("--data", type=click.Path(path_type=Path), help="Folder with the images, or the CSV file.")
@click.option(
    "--layout",
    type=click.Choice(["market1501", "identities", "csv"]),
    help="market1501 (default): folders query and gallery, file names of Market-1501. identities: one folder for each "
    "person; each image is a query. csv: a file with the columns path, pid, camid and split.",
)
@folder_option("--query", help="Folder of the query images, for --pattern.")
@folder_option("--gallery", help="Folder of the gallery images, for --pattern.")
@click.option(
    "--pattern", metavar="REGEX", help=r"Finds pid and camid in the path of an image: '(?P<pid>-?\d+)_c(?P<camid>\d+)'."
)
@click.option(
    "--cameras",
    type=click.Choice(["use", "ignore"]),
    default="use",
    show_default=True,
    help="use: leave out images of the query's person from the query's camera. ignore: there are no cameras.",
)
@architecture_option
@click.option(
    "--distance",
    type=click.Choice(["euclidean", "cosine", "both"]),
    help="By default the distance of the checkpoint; for other files, that of their architecture.",
)
@click.option("--thresholds", is_flag=True, help="Also print at which distance two images show the same person.")
@measuring_options
@format_options
@click.option(
    "--receipt", type=click.Path(path_type=Path, dir_okay=False), help="Also write a receipt: all results in one file."
)
def command(models: tuple[str, ...], **options: Any) -> None:
    """Score checkpoints on your own images.

    NAME-or-FILE is the name of a checkpoint (osnet_x1_0.msmt17) or of a model (osnet_x1_0: its default checkpoint), or
    the path of a checkpoint file (my.pth). Several are scored in one pass: each image is decoded once. The table
    has the checkpoints of the zoo in the manifest's order, then the files. For examples of each layout, see the docs,
    page Your own images.

    The exit code is 1 if a checkpoint could not be scored. The same command resumes an interrupted run.
    """
    sys.exit(_run(models, _Options(**options)))


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of ``reidhub evaluate``."""

    data: Path | None
    layout: "Layout | None"
    query: Path | None
    gallery: Path | None
    pattern: str | None
    cameras: "Cameras"
    architecture: str | None
    distance: str | None
    thresholds: bool
    rerank: bool
    form: Form
    receipt: Path | None
    device: str | None
    precision: "Precision"
    batch_size: int | None

    @property
    def images(self) -> OwnImages:
        """The description of the user's images.

        Raises:
            UsageError: options are missing or do not go together.
        """
        if self.pattern is not None and self.layout is not None:
            raise UsageError(f"--pattern and --layout {self.layout} exclude each other", hint="leave one out")
        layout = "pattern" if self.pattern is not None else self.layout or "market1501"
        return OwnImages(layout, self.data, self.query, self.gallery, self.pattern, self.cameras)

    def make_run(self, models: tuple[str, ...]) -> "OwnDataRun":
        """Read the list of images, and find the checkpoints."""
        images = self.images  # wrong options are reported before torch is imported
        from reidhub.devices import find_device
        from reidhub.verification.own_data import Choices, OwnDataRun

        choices = Choices(self.architecture, self.distance, self.thresholds)
        settings = {"batch_size": self.batch_size, "precision": self.precision, "rerank": self.rerank}
        return OwnDataRun.of(models, images, find_device(self.device), choices, **settings)


def _run(models: tuple[str, ...], options: _Options) -> int:
    """Run ``reidhub evaluate``, and return its exit code."""
    run = options.make_run(models)
    print_defaults(models)
    print_notices(run.selection.checkpoints)
    from reidhub.verification.journal import choose_folder, open_journal
    from reidhub.verification.receipt import write_receipt
    from reidhub.verification.settings import explain_out_of_memory

    cache = Cache()
    folder = choose_folder(cache.root, run.plan, run.settings)
    with explain_out_of_memory(run.settings.device), open_journal(folder) as journal:
        try:
            reports = run.measure(journal, cache)
            scores = run.list_scores(reports, journal)
        except KeyboardInterrupt:
            click.echo("stopped; the same command resumes the run", err=True)
            raise
        if options.receipt:
            results = tuple(result for report in reports for result in report.results)
            write_receipt(replace(reports[0], results=results), options.receipt)
        if scores:
            _print(scores, options)
        sys.stdout.flush()
        journal.discard()
    return _report_problems(run, reports[0])


def _report_problems(run: "OwnDataRun", report: "Report") -> int:
    print_problems(report.not_measured)
    data = run.data
    how = "each image against all others (leave-one-out)" if data.leave_one_out else f"{len(data.query)} queries"
    cameras = ", cameras ignored" if run.settings.cameras == "ignore" else ""
    click.echo(f"{data.title}: {how}, {len(data.gallery)} gallery images{cameras}", err=True)
    return int(bool(report.not_measured))


def _print(scores: "list[RetrievalScores]", options: _Options) -> None:
    """Print the scores, and below them the thresholds, if they were asked for."""
    if options.form == "json":
        click.echo(json.dumps([asdict(one) for one in scores], indent=1))
        return
    header = ("checkpoint", "distance", "queries", "rank-1", "rank-5", "rank-10", "mAP", "mINP")
    rows: list[tuple[Cell, ...]] = [
        (one.checkpoint, one.distance, one.queries, *(getattr(one, metric) for metric in _SCORES)) for one in scores
    ]
    print_table(header, rows, right=header[2:], form=options.form)
    if options.thresholds:
        click.echo()
        _print_thresholds(scores, options.form)


def _print_thresholds(scores: "list[RetrievalScores]", form: Form) -> None:
    """Print the thresholds for "the same person?", with the rates of false accepts (FAR) and false rejects (FRR)."""
    header = ("checkpoint", "distance", "at", "threshold", "FAR %", "FRR %")
    rows: list[tuple[Cell, ...]] = []
    for one, found in ((one, one.thresholds) for one in scores if one.thresholds):
        points = {"EER": found.equal_error, "FAR 1 %": found.far_1_percent, "FAR 0.1 %": found.far_01_percent}
        for name, point in points.items():
            errors = (point.distance, 100 * point.far, 100 * point.frr) if point else ("too few pairs", None, None)
            rows.append((one.checkpoint, one.distance, name, *errors))
    print_table(header, rows, right=header[3:], form=form)
