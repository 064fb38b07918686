"""axe-core finds no serious problem in the HTML report."""

from pathlib import Path

import pytest
from support.axe import SCREENS, find_problems, needs_axe
from support.browser import chromium
from support.reports import report

from reidhub.verification.report import write_report

pytestmark = [pytest.mark.long, needs_axe]


def test_axe_finds_no_serious_problem_in_the_report(tmp_path: Path) -> None:
    page = write_report(*report(tmp_path / "data"), tmp_path / "report")
    with chromium(tmp_path / "profile") as tab:
        assert find_problems(tab, page) == []


def test_axe_finds_an_image_without_a_text_and_a_pale_text(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    style = "@media (prefers-color-scheme: dark) { p { color: #ddd } }"
    page.write_text(
        f"<!doctype html><html lang=en><title>A page</title><style>{style}</style>"
        "<main><h1>A page</h1><img src='data:,'><details><summary>More</summary><p>pale if dark</p></details></main>"
    )
    with chromium(tmp_path / "profile") as tab:
        found = [problem.split(": ")[:2] for problem in find_problems(tab, page)]
    images = [[f"page.html, {width} pixels, {scheme}", "image-alt"] for width, scheme in SCREENS]
    texts = [[f"page.html, {width} pixels, dark", "color-contrast"] for width, scheme in SCREENS if scheme == "dark"]
    assert sorted(found) == sorted(images + texts)
