"""The page: what a run found, for people, in one file that loads nothing."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from reidhub.errors import UsageError
from reidhub.files.atomic import explain_write_errors, write_text
from reidhub.verification.report.details import details
from reidhub.verification.report.figures import legend, overview, verdict_mark
from reidhub.verification.report.galleries import Gallery, Key
from reidhub.verification.report.markup import Markup, element, join
from reidhub.verification.report.sections import plots
from reidhub.verification.report.thumbnails import HEIGHT, QUALITY, WIDTH, Thumbnails
from reidhub.verification.results import VERDICTS, Environment, Report

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
    style, script = _part("page.css"), _part("page.js")
    results = [
        details(place, result, galleries.get(result.job.key), thumbnails) for place, result in enumerate(report.results)
    ]
    return Template(_part("page.html")).substitute(
        policy=_policy(style, script),
        style=style,
        script=script,
        tally=_tally(report),
        under=_under(report),
        legend=legend(),
        overview=overview(report),
        plots=plots(report),
        results=join(results),
        environment=_environment(report.environment),
        images=_images(galleries, thumbnails),
    )


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and of styles and scripts these alone are taken."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script)
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _tally(report: Report) -> Markup:
    """How often each verdict was passed on a result."""
    counts = Counter(result.verdict for result in report.results)
    entries = [element("li", element("b", counts[v]), " ", verdict_mark(v)) for v in VERDICTS if counts[v]]
    return element("ul", entries, class_="tally")


def _under(report: Report) -> Markup:
    """The conditions in one line; each result tells its own in full."""
    if not report.measured:
        return element("p", "Nothing was measured.")
    precisions = ", ".join(dict.fromkeys(result.conditions.precision for result in report.measured))
    versions = ", ".join(f"{name} {report.environment.versions.get(name, '?')}" for name in ("reidhub", "torch"))
    return element("p", f"Measured on {', '.join(report.environment.devices)} in {precisions} with {versions}.")


def _environment(environment: Environment) -> Markup:
    facts = {**environment.versions, "platform": environment.platform, "devices": ", ".join(environment.devices)}
    pairs = [element("div", element("dt", name), element("dd", value or "none")) for name, value in facts.items()]
    return element("dl", pairs, class_="facts")


def _images(galleries: Mapping[Key, Gallery], thumbnails: Thumbnails | None) -> Markup:
    """What the page holds of the dataset's images, for whoever passes it on."""
    if thumbnails is None:
        return element("p", "This page was made without images: file names stand in their place.")
    if not thumbnails.count:
        return element("p", "This page holds no image.")
    people = {record.path for gallery in galleries.values() for record in gallery.images}
    missing = [
        f" {count:,} more {why}."
        for count, why in (
            (thumbnails.left_out, "were left out to keep the page small"),
            (thumbnails.unreadable, "could not be read"),
        )
        if count
    ]
    return element(
        "p",
        element("strong", "This page holds images of people."),
        f" {thumbnails.count:,} thumbnails ({thumbnails.size / 1024:,.0f} KiB; JPEG of at most {WIDTH}×{HEIGHT} "
        f"pixels, quality {QUALITY}, without the originals' metadata) of {len(people):,} images of the datasets named "
        "above are part of this file. The terms of those datasets hold for it too; do not publish it where they "
        "forbid that. ",
        element("code", "--no-images"),
        " makes it with file names instead.",
        *missing,
        class_="privacy",
    )
