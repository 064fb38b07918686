"""Writes a contact sheet as one HTML page that loads no other file and has no script."""

from pathlib import Path

from reidhub.errors import UsageError
from reidhub.files.atomic import explain_write_errors, write_text
from reidhub.retrieval.rank_job import RankReport
from reidhub.verification.report.page import render_page
from reidhub.verification.report.thumbnails import Thumbnails

QUERIES = 1000
"""Largest number of queries on a page."""


def write_page(report: RankReport, path: Path) -> str | None:
    """Write the page.

    Args:
        report: the rankings.
        path: the file; its folder is created if it does not exist.

    Returns:
        A sentence that says what the page does not show; None if it shows everything.

    Raises:
        DiskFullError: the disk has no room for the page.
        UsageError: the page cannot be written for another reason.
    """
    thumbnails = Thumbnails()
    page = render_page(
        "sheet.html",
        package=__package__,
        report=report,
        rankings=report.rankings[:QUERIES],
        thumbnails=thumbnails,
        make_path=Path,
    )
    with explain_write_errors(f"write {path}", UsageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, page)
    limits = []
    if len(report.rankings) > QUERIES:
        limits.append(f"it shows the first {QUERIES:,} of {len(report.rankings):,} queries")
    if thumbnails.left_out:
        limits.append(f"images left out to keep the page small: {thumbnails.left_out:,}; it shows their names instead")
    if thumbnails.unreadable:
        limits.append(f"images that could not be opened: {thumbnails.unreadable:,}; it shows their names instead")
    return "; ".join(limits) or None
