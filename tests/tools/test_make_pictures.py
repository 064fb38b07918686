"""The pictures on the README's first screen, and the script that makes them."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from support.browser import CHROMIUM
from support.paths import ROOT

from tools import make_pictures
from tools.make_pictures import EXPLORER, FOLDER, RANKING, REPORT, SCALE, Picture, main, take_picture

LARGEST = 210_000  # bytes of a picture


class Pictures(HTMLParser):
    """Collects the attributes of the images in a text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.found.append(dict(attrs))


def test_the_first_screen_of_the_readme_shows_both_pictures_and_says_what_one_sees():
    first_screen = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    pictures = Pictures()
    pictures.feed(first_screen)

    paths = [f"docs/images/{picture.name}" for picture in (RANKING, REPORT)]
    assert [image["src"] for image in pictures.found] == paths
    ranking, report = (image["alt"] or "" for image in pictures.found)
    assert {"queries", "gallery", "right", "wrong"} <= set(ranking.replace(",", "").split())
    assert {"reported", "measured", "verdict", "plots"} <= set(report.replace(",", "").split())


@pytest.mark.parametrize("picture", [RANKING, REPORT, EXPLORER], ids=lambda picture: picture.name)
def test_a_picture_is_sharp_and_small(picture: Picture):
    path = FOLDER / picture.name
    with Image.open(path) as image:
        assert image.size == (SCALE * picture.width, SCALE * picture.height), "run: make pictures"
    assert path.stat().st_size <= LARGEST


def test_without_a_browser_the_script_says_what_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="need the browser Chromium"):
        main()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_the_browser_takes_a_picture_of_the_top_of_a_page(tmp_path: Path, monkeypatch):
    assert CHROMIUM is not None
    page = tmp_path / "page.html"
    page.write_text('<body style="margin: 0; background: #102030"><div style="height: 50px; background: #fff"></div>')
    (tmp_path / "images").mkdir()
    monkeypatch.setattr(make_pictures, "FOLDER", tmp_path / "images")

    take_picture(CHROMIUM, page, Picture("small.png", 640, 200))

    with Image.open(tmp_path / "images" / "small.png") as image:
        assert image.size == (1280, 400)
        colours = image.convert("RGB")
        assert [colours.getpixel((7, y)) for y in (0, 99, 100, 399)] == [(255,) * 3] * 2 + [(16, 32, 48)] * 2
