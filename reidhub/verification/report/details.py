"""One result in full: its figures, under what they were measured, and the queries that went best and worst."""

from collections.abc import Iterable
from pathlib import Path

from reidhub.verification.report.figures import figure_table, verdict_mark
from reidhub.verification.report.galleries import Gallery, Mark, RankedImage, RankedQuery
from reidhub.verification.report.markup import Child, Markup, element, join
from reidhub.verification.report.thumbnails import HEIGHT, WIDTH, Thumbnails
from reidhub.verification.results import Conditions, DatasetCopy, Measured, NotMeasured, Result

_MARKS: dict[Mark, str] = {"right": "✓ right", "wrong": "✕ wrong", "same camera": "○ same camera"}


def details(place: int, result: Result, gallery: Gallery | None, thumbnails: Thumbnails | None) -> Markup:
    """One result.

    Args:
        place: among the results; makes the id that the table links to.
        result: what was found.
        gallery: queries to show; None where there are none.
        thumbnails: makes the images; None for a page without any.
    """
    name = element("span", result.job.checkpoint.name, class_="name")
    hint = result.hint if isinstance(result, NotMeasured) else None
    title = result.copy.title if result.copy else result.job.dataset
    return element(
        "article",
        element("h3", name, " on ", element("span", title, class_="name"), id=f"result-{place}", tabindex=-1),
        element("p", verdict_mark(result.verdict), f": {result.reason}" if result.reason else None, class_="reason"),
        element("p", f"hint: {hint}", class_="reason") if hint else None,
        element("p", *[element("span", notice) for notice in result.job.checkpoint.notices], class_="notice")
        if result.job.checkpoint.notices
        else None,
        figure_table(result),
        _definitions(_facts(result)),
        _queries(gallery, thumbnails) if gallery else None,
        aria_labelledby=f"result-{place}",
    )


def _definitions(facts: Iterable[tuple[str, Child]]) -> Markup:
    pairs = [element("div", element("dt", name), element("dd", value)) for name, value in facts if value is not None]
    return element("dl", pairs, class_="facts")


def _facts(result: Result) -> list[tuple[str, Child]]:
    """Everything that the figures depend on, but for what all results share."""
    file, checkpoint = result.file, result.job.checkpoint
    facts: list[tuple[str, Child]] = [
        ("reported in", result.job.score.source if result.job.score else "no figure is published"),
        ("trained on", " + ".join(checkpoint.trained_on) + (", all images" if checkpoint.combineall else "")),
    ]
    if file:
        held = "held to nothing" if file.held_to == "nothing" else f"held to its {file.held_to}"
        facts += [("weights, sha256", _code(file.sha256)), ("weights, size", f"{file.size:,} bytes, {held}")]
    if result.copy:
        facts += _copy_facts(result.copy)
    if isinstance(result, Measured):
        facts += _condition_facts(result.conditions)
        measurement = result.measurement
        skipped = sum(rank == 0 for rank in measurement.first_match_rank) if measurement.average_precision else 0
        why = f", {skipped:,} skipped: no match from another camera" if skipped else ""
        facts += [
            ("queries", f"{measurement.queries:,}{why}"),
            ("embedding", f"{measurement.dimensions} dimensions"),
            ("query by query, sha256", _code(measurement.per_query_digest)),
        ]
    return facts


def _copy_facts(copy: DatasetCopy) -> list[tuple[str, Child]]:
    images = ", ".join(f"{split} {count:,}" for split, count in copy.images.items())
    return [
        ("images", images + (f"; version {copy.version}" if copy.version else "")),
        ("dataset, fingerprint", _code(copy.fingerprint)),
        ("copy", f"PARTIAL: {copy.partial}" if copy.partial else "whole"),
    ]


def _condition_facts(conditions: Conditions) -> list[tuple[str, Child]]:
    threads = f", {conditions.threads} threads" if conditions.device == "cpu" else ""
    changes = ["normalised"] * conditions.normalize + ["re-ranked (k-reciprocal)"] * conditions.rerank
    ranks = None if conditions.distance is None else ", ".join([conditions.distance, *changes])
    return [
        ("device", f"{conditions.device}: {conditions.device_name}{threads}"),
        ("precision of the model", f"{conditions.precision}, batches of {conditions.batch_size}"),
        ("distance", ranks),
        ("pixels", conditions.pixels),
    ]


def _code(digest: str) -> Markup:
    return element("code", digest)


def _queries(gallery: Gallery, thumbnails: Thumbnails | None) -> Markup:
    groups = (("Best", gallery.best), ("Worst", gallery.worst))
    return join(
        [
            join(
                element("h4", f"{word} queries"),
                [
                    _query(f"{word} {number}", query, gallery, thumbnails, opened=number == 1)
                    for number, query in enumerate(queries, 1)
                ],
            )
            for word, queries in groups
            if queries
        ]
    )


def _query(label: str, query: RankedQuery, gallery: Gallery, thumbnails: Thumbnails | None, *, opened: bool) -> Markup:
    name = _name(query.record.path, gallery)
    summary = element(
        "summary",
        element("b", label),
        f": average precision {100 * query.average_precision:.1f} %, first right image at rank "
        f"{query.first_match_rank:,} ",
        element("span", name, class_="name"),
    )
    asked = element(
        "li",
        element("figure", _picture(query.record.path, name, thumbnails), _asked_caption(query)),
        class_="asked",
    )
    ranked = [_ranked(image, gallery, thumbnails) for image in query.images]
    row = element("ol", asked, ranked, class_="ranked", role="list", tabindex=0, aria_label=f"{label}: {name}, ranked")
    return element("details", summary, row, open=opened)


def _asked_caption(query: RankedQuery) -> Markup:
    record = query.record
    return element(
        "figcaption",
        element("b", "query"),
        element("span", f"pid {record.pid}"),
        element("span", f"camera {record.camid}"),
    )


def _ranked(image: RankedImage, gallery: Gallery, thumbnails: Thumbnails | None) -> Markup:
    name, record = _name(image.record.path, gallery), image.record
    rank = f"{image.rank:,} " if image.rank else ""
    caption = element(
        "figcaption",
        element("b", f"{rank}{_MARKS[image.mark]}"),
        element("span", f"pid {record.pid}"),
        element("span", f"camera {record.camid}"),
        element("span", f"{image.distance:.4g}", class_="distance"),
    )
    figure = element("figure", _picture(record.path, name, thumbnails), caption, title=name)
    return element("li", figure, class_=image.mark.replace(" ", "-"))


def _picture(path: Path, name: str, thumbnails: Thumbnails | None) -> Markup:
    uri = thumbnails.uri(path) if thumbnails else None
    if uri is None:
        return element("span", name, class_="no-picture name")
    return element("img", src=uri, alt=name, width=WIDTH, height=HEIGHT)


def _name(path: Path, gallery: Gallery) -> str:
    return path.relative_to(gallery.root).as_posix()
