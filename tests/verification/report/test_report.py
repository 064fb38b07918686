"""The HTML report: what stands in it, and that nothing but that does."""

import base64
import hashlib
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from PIL import Image
from support.html_pages import Node, read
from support.reports import HOSTILE, report

from reidhub.errors import UsageError
from reidhub.verification.report import write_report
from reidhub.verification.report.axes import Axis
from reidhub.verification.report.html import render_report
from reidhub.verification.report.page import load_templates
from reidhub.verification.report.thumbnails import Thumbnails
from reidhub.verification.results import Measured, NotMeasured, Report
from reidhub.zoo.describe import name_metric

SHOWN = re.sub("[\x07\u202e]", "\N{REPLACEMENT CHARACTER}", HOSTILE)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory):
    """The values: a report and its galleries."""
    return report(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def written(found, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(*found, tmp_path_factory.mktemp("report") / "new" / "folder").read_text()


@pytest.fixture(scope="module")
def page(written: str) -> Node:
    return read(written)


def table(page: Node) -> list[list[str]]:
    body = page.one("table", id="figures").all("tbody")[0]
    return [[cell.text for cell in row if cell.tag in ("td", "th")] for row in body.all("tr")]


def test_every_reported_figure_is_a_row_beside_what_was_measured(page: Node, found) -> None:
    expected = []
    for result in found[0].results:
        for figure in result.figures:
            if figure.reported or result.job.score is None:
                measured = "—" if figure.measured is None else f"{figure.measured:.3f}"
                hits = f"{figure.hits} of 10" if figure.hits is not None else "—"
                verdict = figure.verdict or result.verdict
                expected.append([name_metric(figure.metric), figure.reported or "—", measured, hits, verdict])
    rows = table(page)
    assert [[row[2], row[3], row[4], row[7], row[6].split(" ", 1)[1]] for row in rows] == expected
    assert {row[0] for row in rows} == {r.job.checkpoint.name.replace(HOSTILE, SHOWN) for r in found[0].results}
    assert {row[6].split(" ", 1)[1] for row in rows} == {
        "reproduced", "close", "deviates", "not comparable", "not run",
    }  # fmt: skip
    assert [row[5] for row in rows if row[0] == "osnet_x1_0.deviates"] == ["−7.500", rows[5][5]]


def test_a_result_says_under_what_it_was_measured(page: Node, found) -> None:
    for place, result in enumerate(found[0].results):
        article = _article(page, place)
        if isinstance(result, NotMeasured):
            assert SHOWN in article.text and "https 404" in article.text and not article.all("details")
            assert "hint: fetch it by hand" in article.text and "https 404" not in page.one("table", id="figures").text
            continue
        for fact in (
            "a" * 64,
            "f" * 64,
            "checked against its sha256",
            result.measurement.per_query_digest,
            "fp32",
            "euclidean",
        ):
            assert fact in article.text
        assert "10, 1 skipped" in article.text
    assert "PARTIAL: gallery has 59" in _article(page, 3).text
    environment = page.one("section", **{"aria-labelledby": "environment-title"}).text
    assert "torch" in environment and SHOWN in environment


def test_each_result_describes_its_partial_copy_once(page: Node, found) -> None:
    (result,) = (result for result in found[0].measured if result.copy.partial)
    partial = result.copy.partial.replace(HOSTILE, SHOWN)
    assert result.reason == f"partial copy: {result.copy.partial}"
    assert _article(page, 3).text.count(partial) == page.text.count(partial) == 1
    notes = [note.text for note in page.one("table", id="figures").all("td", "note")]
    assert notes.count("partial copy") == len(result.shown_figures)


def test_cameras_have_the_numbers_of_the_file_names(page: Node, found) -> None:
    gallery = found[1][found[0].results[0].job.key]
    captions = _article(page, 0).all("figcaption")
    assert [caption.all("span")[1].text for caption in captions] == [
        f"camera {record.camid + 1}" for record in gallery.images
    ]
    assert "camera 1" in page.text and "camera 0" not in page.text


def _article(page: Node, place: int) -> Node:
    return page.one("article", **{"aria-labelledby": f"result-{place}"})


def test_hostile_names_stay_text(page: Node, found) -> None:
    assert len(page.all("script")) == 1
    allowed = re.compile(r"on\w+")
    assert not [node.tag for node in page for name in node.attributes if allowed.fullmatch(name)]
    assert SHOWN in page.one("table", id="figures").text and SHOWN in _article(page, 0).all("summary")[0].text
    assert all(node.attributes["src"].startswith("data:image/jpeg;base64,") for node in page.all("img"))


def test_nothing_is_loaded_and_the_policy_says_so(page: Node) -> None:
    places = {"src", "href", "srcset", "action", "data", "poster", "xlink:href", "style"}
    for node in page:
        for name in places & set(node.attributes):
            assert (node.attributes[name] or "").startswith(("#", "data:image/jpeg;base64,")), (node.tag, name)
    assert not page.all("link") and "url(" not in page.one("style").text and "@import" not in page.one("style").text
    policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"] or ""
    hashes = [
        base64.b64encode(hashlib.sha256(page.one(t).text.encode()).digest()).decode() for t in ("style", "script")
    ]
    assert policy.split("; ") == [
        "default-src 'none'", f"style-src 'sha256-{hashes[0]}'", f"script-src 'sha256-{hashes[1]}'",
        "img-src data:", "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip


def test_ids_are_unique_and_all_references_lead_somewhere(page: Node) -> None:
    ids = [node.attributes["id"] for node in page if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    references = [(node.attributes["href"] or "")[1:] for node in page.all("a")]
    for name in ("aria-labelledby", "aria-describedby"):
        references += [node.attributes[name] for node in page if name in node.attributes]
    assert len(references) > 20 and set(references) <= set(ids)


def test_tables_and_drawings_tell_what_they_are(page: Node) -> None:
    for one in page.all("table"):
        assert one.all("caption") and all(
            cell.attributes.get("scope") == "col" for cell in one.all("thead")[0].all("th")
        )
        assert all(row.all("th")[0].attributes["scope"] == "row" for row in one.all("tbody")[0].all("tr"))
    drawings = [svg for svg in page.all("svg") if svg.attributes.get("aria-hidden") != "true"]
    assert len(drawings) == 3
    for svg in drawings:
        assert svg.attributes["role"] == "img" and svg.all("title")[0].text and svg.all("desc")[0].text
    assert all(img.attributes["alt"] for img in page.all("img"))


def test_plots_have_a_mark_for_each_figure(page: Node, found) -> None:
    measured = found[0].measured
    circles = [c for c in page.all("circle") if "point" in c.classes]
    squares = [c for c in page.all("rect") if "point" in c.classes]
    assert len(circles) == len(squares) == len(measured) == 5
    assert sum("hollow" in circle.classes for circle in circles) == 2
    marks = page.all("path", "mark")
    deviations = [f.deviation for result in measured for f in result.figures if f.deviation is not None]
    assert len(marks) == len(deviations) == 8
    places = [float(re.search(r"\((\S+)", mark.attributes["transform"] or "")[1]) for mark in marks]  # type: ignore[index]
    assert [(place > 436) - (place < 436) for place in places] == [
        (deviation > 1e-3) - (deviation < -1e-3) for deviation in map(_on_axis, deviations)
    ]
    curves = [line for line in page.all("polyline") if "curve" in line.classes]
    assert [len((line.attributes["points"] or "").split()) for line in curves] == [50] * 5


def _on_axis(deviation: float) -> float:
    """As far as two decimals of a pixel can tell it from zero."""
    return 0.0 if abs(deviation) * 130 < 0.005 else deviation


def test_higher_is_better_in_every_plot(page: Node, found) -> None:
    percents = [result.figures[0].measured for result in found[0].measured]
    heights = [-float(circle.attributes["cy"] or 0) for circle in page.all("circle") if "point" in circle.classes]
    assert sorted(range(5), key=percents.__getitem__) == sorted(range(5), key=heights.__getitem__)
    for line in page.all("polyline"):
        ups = [float(point.split(",")[1]) for point in (line.attributes["points"] or "").split()]
        assert ups == sorted(ups, reverse=True)


@pytest.mark.parametrize(
    "axis, ticks",
    [
        (Axis("", 0, 100, 0, 1), [0, 20, 40, 60, 80, 100]),
        (Axis("", -0.3, 0.3, 0, 1), [-0.2, 0, 0.2]),
        (Axis("", 0.15, 6, 0, 1, log=True), [0.2, 0.5, 1, 2, 5]),
    ],
)
def test_ticks_are_round(axis: Axis, ticks: list[float]) -> None:
    assert axis.ticks() == pytest.approx(ticks)
    assert (axis(axis.low), axis(axis.high), axis(10**6)) == (0, 1, 1)


def test_images_are_small_counted_and_without_metadata(page: Node, written: str) -> None:
    files = [base64.b64decode((img.attributes["src"] or "").partition(",")[2]) for img in page.all("img")]
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            assert image.format == "JPEG" and image.width <= 64 and image.height <= 128
            assert not image.getexif() and "comment" not in image.info
        assert b"photographer" not in file and b"a comment" not in file
    about = page.one("section", **{"aria-labelledby": "about-title"}).text
    size = sum(map(len, files))
    assert f"{len(files):,} thumbnails ({size / 1024:,.0f} KiB" in about and "images of people" in about
    assert len(files) > 100 and len(written) < 1.4 * size + 200_000


def test_a_page_does_not_grow_beyond_its_budget(found) -> None:
    thumbnails = Thumbnails(budget=20_000)
    page = read(render_report(*found, thumbnails))
    files = [base64.b64decode((img.attributes["src"] or "").partition(",")[2]) for img in page.all("img")]
    assert 15_000 < sum(map(len, files)) == thumbnails.size <= 20_000
    named = page.all("span", "no-picture")
    assert len(named) == thumbnails.left_out > 50 and all(name.text for name in named)
    assert f"{thumbnails.left_out:,} more were left out" in page.text


def test_an_image_that_is_gone_is_named_instead(found, tmp_path: Path) -> None:
    results, galleries = found
    (key, gallery), *_ = galleries.items()
    gone = replace(gallery.best[0], record=replace(gallery.best[0].record, path=gallery.root / "query" / "gone.jpg"))
    page = read(render_report(results, {key: replace(gallery, best=(gone,), worst=())}, Thumbnails()))
    assert [span.text for span in page.all("span", "no-picture")] == ["query/gone.jpg"]
    assert "1 more could not be read" in page.text


def test_without_images_there_are_names(found, tmp_path: Path) -> None:
    page = read(write_report(*found, tmp_path, images=False).read_text())
    assert not page.all("img") and len(page.all("span", "no-picture")) > 100
    assert "made without images" in page.text and "has images of people" not in page.text


def test_the_same_results_give_the_same_bytes_however_long_they_took(found, written: str, tmp_path: Path) -> None:
    values, galleries = found
    slower = tuple(
        replace(r, timing=replace(r.timing, seconds=99.0)) if isinstance(r, Measured) else r for r in values.results
    )
    again = write_report(Report(slower, values.environment), galleries, tmp_path)
    assert again.read_text() == written
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_folder_that_cannot_be_made_is_named(found, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write the report into"):
        write_report(*found, tmp_path / "file")


def test_nothing_measured_is_a_page_as_well(found) -> None:
    values, _ = found
    page = read(render_report(Report(values.results[-1:], values.environment), {}, Thumbnails()))
    assert "Nothing was measured" in page.text and len(table(page)) == 2 and "has no images" in page.text


def test_a_template_that_names_an_unknown_value_is_an_error(found) -> None:
    with pytest.raises(UndefinedError, match="'environments'"):
        load_templates().from_string("{{ report.environments }}").render(report=found[0])
