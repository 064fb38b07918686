"""Contact sheets: one HTML page and one picture, with every mark, cut boxes, limits, and names that attack the page."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.browser import CHROMIUM, chromium
from support.verify_runs import run_here

from reidhub.demo import world
from reidhub.errors import UsageError
from reidhub.retrieval.embedding_model import EmbeddingModel
from reidhub.retrieval.rank_job import RankChoices, RankReport
from reidhub.retrieval.ranking import Neighbour, Ranking
from reidhub.retrieval.sheets import page, picture
from reidhub.verification.report.thumbnails import Thumbnails

MARKS = ("right", "wrong", "same camera", "junk", None)
EVIL = '"><script>alert(1)</script>&\u202egpj.jpg'


def make_report(*rankings: Ranking, order: str = "given") -> RankReport:
    numbers = (0.5, 0.5, 0.5)
    model = EmbeddingModel(
        "tiny.corridor", "0" * 64, "tiny", 64, 32, numbers, numbers, "bilinear", "rgb", "fp32", 512, "euclidean"
    )
    return RankReport(list(rankings), {}, model, "euclidean", RankChoices(order=order))


@pytest.fixture
def frame(tmp_path) -> str:
    """A frame whose left half is red and whose right half is blue."""
    pixels = np.zeros((100, 80, 3), np.uint8)
    pixels[:, :40, 0] = pixels[:, 40:, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "frame.png")
    return str(tmp_path / "frame.png")


@pytest.fixture
def report(frame) -> RankReport:
    images = [Neighbour(place, frame, None, 0.25 * place, mark) for place, mark in enumerate(MARKS, 1)]
    images.append(Neighbour(6, frame, (40.5, 10, 90, 60), 3.0, None))
    images.append(Neighbour(7, f"/nowhere/{EVIL}", None, 4.0, None))
    return make_report(Ranking(frame, tuple(images), in_gallery=True))


def find_images(text: str) -> list[Image.Image]:
    from base64 import b64decode

    return [
        Image.open(io.BytesIO(b64decode(data))) for data in re.findall(r'src="data:image/jpeg;base64,([^"]*)"', text)
    ]


def test_page_shows_every_mark_in_words_and_the_cut_box(tmp_path, report):
    note = page.write_page(report, tmp_path / "new" / "sheet.html")

    text = (tmp_path / "new" / "sheet.html").read_text()
    for words in (
        "✓ right",
        "✕ wrong",
        "○ same camera",
        "– junk",
        "Queries in the order given",
        "first right image at",
    ):
        assert words in text
    shown = find_images(text)
    assert len(shown) == 7
    red, blue = (np.asarray(image.convert("RGB"), int)[5:-5, :5].mean((0, 1)) for image in (shown[0], shown[6]))
    assert red[0] > 200 > 50 > red[2]
    assert blue[2] > 200 > 50 > blue[0]  # the box begins in the right half
    assert note == "images that could not be opened: 1; it shows their names instead"
    assert "The query is in the gallery too" in text


def test_names_cannot_change_the_page(tmp_path, report):
    found = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append(tag)

    page.write_page(report, tmp_path / "sheet.html")
    text = (tmp_path / "sheet.html").read_text()
    Tags().feed(text)
    assert "script" not in found
    assert "\u202e" not in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_browser_shows_the_page_without_complaints_and_loads_nothing(tmp_path, report):
    page.write_page(report, tmp_path / "sheet.html")
    with chromium(tmp_path / "profile") as tab:
        tab.open(tmp_path / "sheet.html", width=400, height=800)
        assert tab.complaints() == []
        assert {address.partition(":")[0] for address in tab.requests()} == {"file", "data"}
        assert tab.run("document.querySelectorAll('.ranked img').length") == 7
        assert tab.run("[...document.querySelectorAll('.ranked img')].every(image => image.naturalWidth > 0)")
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")


def test_page_has_limits_and_says_so(tmp_path, report, monkeypatch):
    monkeypatch.setattr(page, "QUERIES", 2)
    monkeypatch.setattr(page, "Thumbnails", lambda: Thumbnails(budget=1500))
    note = page.write_page(make_report(*report.rankings * 3), tmp_path / "sheet.html")
    assert note is not None
    assert "the first 2 of 3 queries" in note
    assert "left out to keep the page small" in note
    assert (tmp_path / "sheet.html").read_text().count("<summary>") == 2


def test_picture_shows_marks_by_colour_and_by_shape(tmp_path, report):
    assert picture.write_picture(report, tmp_path / "sheet.png") is None
    with Image.open(tmp_path / "sheet.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    colours = {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()}
    assert {(17, 99, 41), (164, 14, 38), (140, 149, 159)} <= colours  # right, wrong, same camera
    assert pixels.shape[1] > 8 * 96
    first = pixels[picture._HEADER :, 1 * picture._CELL + picture._GAP :][:190, :104]
    second = pixels[picture._HEADER :, 2 * picture._CELL + picture._GAP :][:190, :104]
    assert (first[100, :4] == (17, 99, 41)).all()  # the frame of a right image is wider
    assert (second[100, :4] == (164, 14, 38)).all(1).tolist() == [True, True, False, False]
    assert (second[:16, -16:] == (164, 14, 38)).all(2).sum() > 60  # a wrong image has a cross in its corner


def test_picture_has_limits_and_says_so(tmp_path, report, monkeypatch):
    monkeypatch.setattr(picture, "QUERIES", 1)
    monkeypatch.setattr(picture, "IMAGES", 3)
    note = picture.write_picture(make_report(*report.rankings * 2), tmp_path / "sheet.png")
    assert note == "it shows the first 1 of 2 queries; --html shows more; it shows the first 3 images of each query"
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.height < 2 * picture._ROW + picture._HEADER


@pytest.mark.parametrize("write", [page.write_page, picture.write_picture])
def test_sheet_without_queries_or_without_images_is_written(tmp_path, frame, write):
    write(make_report(), tmp_path / "none")
    write(make_report(Ranking(frame, ())), tmp_path / "empty")
    assert (tmp_path / "none").stat().st_size > 0 < (tmp_path / "empty").stat().st_size


@pytest.mark.parametrize("write", [page.write_page, picture.write_picture])
def test_sheet_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path, report, write):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        write(report, tmp_path / "file" / "sheet")
    assert list(tmp_path.glob(".incoming*")) == []


def test_command_writes_both_sheets_and_states_the_order(tmp_path, monkeypatch, capsys):
    shots = world.list_shots("gallery")[:6]
    (tmp_path / "gallery").mkdir()
    for shot in shots:
        (tmp_path / "gallery" / shot.file_name).write_bytes(world.photograph(shot))
    sheets = tmp_path / "sheet.html", tmp_path / "sheet.png"
    arguments = ("rank", "tiny.corridor", str(tmp_path / "gallery"), "--gallery", str(tmp_path / "gallery"))

    done = run_here(
        monkeypatch,
        capsys,
        *arguments,
        *("--order", "worst", "--device", "cpu", "--html", str(sheets[0]), "--png", str(sheets[1])),
    )

    assert done.returncode == 0, done.stderr
    assert f"wrote {sheets[0]}" in done.stderr
    assert "Worst queries first" in sheets[0].read_text()
    assert Image.open(sheets[1]).format == "PNG"
    assert Path(sheets[0]).read_text().count("<summary>") == 6
