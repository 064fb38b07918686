"""The page: what a run found, for people, in one file that loads nothing."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from reidhub.errors import UsageError
from reidhub.files.atomic import explain_write_errors, write_text
from reidhub.verification.report.galleries import Gallery, Key
from reidhub.verification.report.page import render_page
from reidhub.verification.report.plots import list_deviations, plot_datasets, plot_deviations
from reidhub.verification.report.thumbnails import Thumbnails
from reidhub.verification.results import VERDICTS, Report

FILE_NAME = "index.html"


def write_report(report: Report, galleries: Mapping[Key, Gallery], folder: Path, *, images: bool = True) -> Path:
    """Write ``index.html``; the same values give the same bytes.

    How long the run took is not in it: a receipt has that.

    Args:
        report: what was found.
        galleries: (checkpoint, dataset) -> queries to show.
        folder: made where it does not exist.
        images: False for names in the place of images of people.

    Raises:
        DiskFullError: there is no room for it.
        UsageError: it cannot be written for another reason.
    """
    page, path = render(report, galleries, Thumbnails() if images else None), folder / FILE_NAME
    with explain_write_errors(f"write the report into {folder}", UsageError):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, page)
    return path


def render(report: Report, galleries: Mapping[Key, Gallery], thumbnails: Thumbnails | None) -> str:
    """The page as text.

    Args:
        report: what was found.
        galleries: (checkpoint, dataset) -> queries to show.
        thumbnails: makes the images; None for a page without any.
    """
    counts = Counter(result.verdict for result in report.results)
    deviations = list_deviations(report)
    return render_page(
        "report.html",
        report=report,
        versions=report.environment.versions,
        tally={verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
        deviations=plot_deviations(deviations) if deviations else None,
        datasets=plot_datasets(report),
        galleries=galleries,
        thumbnails=thumbnails,
        people=len({record.path for gallery in galleries.values() for record in gallery.images}),
    )
