"""Writes the report of a run as one HTML page that loads no other file."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from reidhub.errors import UsageError
from reidhub.files.atomic import explain_write_errors, write_text
from reidhub.verification.plan import JobKey
from reidhub.verification.report.galleries import Gallery
from reidhub.verification.report.page import render_page
from reidhub.verification.report.plots import list_deviations, plot_datasets, plot_deviations
from reidhub.verification.report.thumbnails import Thumbnails
from reidhub.verification.results import VERDICTS, Report

FILE_NAME = "index.html"


def write_report(report: Report, galleries: Mapping[JobKey, Gallery], folder: Path, *, images: bool = True) -> Path:
    """Write the page ``index.html``. It contains no times, so the same results always give the same bytes.

    Args:
        report: the results.
        galleries: the queries that are shown for each job.
        folder: the folder to write to; created if it does not exist.
        images: True to show the images of people; False to show only file names.

    Returns:
        The path of the written page.

    Raises:
        DiskFullError: the disk has no room for the page.
        UsageError: the page cannot be written for another reason.
    """
    page, path = render_report(report, galleries, Thumbnails() if images else None), folder / FILE_NAME
    with explain_write_errors(f"write the report into {folder}", UsageError):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, page)
    return path


def render_report(report: Report, galleries: Mapping[JobKey, Gallery], thumbnails: Thumbnails | None) -> str:
    """Return the HTML text of the page.

    Args:
        report: the results.
        galleries: the queries that are shown for each job.
        thumbnails: makes the small images of the page; None for a page without images.
    """
    counts = Counter(result.verdict for result in report.results)
    shown = {figure.verdict or result.verdict for result in report.results for figure in result.shown_figures}
    deviations = list_deviations(report)
    return render_page(
        "report.html",
        scripts=("table.js", "queries.js"),
        report=report,
        versions=report.environment.versions,
        tally={verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
        verdicts=[verdict for verdict in VERDICTS if verdict in shown],
        deviations=plot_deviations(deviations) if deviations else None,
        datasets=plot_datasets(report),
        galleries=galleries,
        thumbnails=thumbnails,
        people=len({record.path for gallery in galleries.values() for record in gallery.images}),
    )
