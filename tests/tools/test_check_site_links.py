"""The check of a built site finds links that lead nowhere and pages that load something from elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from tools.check_site_links import find_problems, list_outside, read_site

SIGHTS = '<img src="cat.png" srcset="cat.png 1x, sub/cat%20two.png 2x"><img src="data:image/png;base64,">'
GOOD = f'<link rel="stylesheet" href="page.css"><h1 id="top-of-all">A</h1><a href="#top-of-all">up</a>{SIGHTS}'
LINKS = '<a href="sub/other.html#caf%C3%A9">other</a><a href="https://example.org/x">far</a><a href="?q=1#">here</a>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    (site / "index.html").write_text(GOOD + LINKS)
    (site / "sub" / "other.html").write_text('<p id="café"></p><a href="../index.html">back</a>', encoding="utf-8")
    (site / "page.css").write_text('body { background: url("cat.png") }')
    for name in ("cat.png", "sub/cat two.png"):
        (site / name).touch()
    return site


def problems(site: Path) -> list[str]:
    return list(find_problems(site, read_site(site)))


def test_a_site_without_broken_links_has_no_problem_and_its_far_links_are_listed(site: Path):
    assert problems(site) == []
    assert list_outside(site, read_site(site)) == {"https://example.org/x": ["index.html"]}


@pytest.mark.parametrize(
    ("added", "problem"),
    [
        ('<a href="gone.html">', "gone.html: no such file"),
        ('<a href="sub">', "sub: no such file"),
        ('<img srcset="gone.png 2x">', "gone.png: no such file"),
        ('<form action="gone.html">', "gone.html: no such file"),
        ('<a href="#gone">', "#gone: no such place on the page"),
        ('<a href="sub/other.html#gone">', "sub/other.html#gone: no such place on the page"),
        ('<a href="/index.html">', "/index.html: the site may lie in any folder, so a link must not start with /"),
        ('<a href="../README.md">', "../README.md: it leads out of the site"),
        ('<script src="https://example.org/x.js"></script>', "loads https://example.org/x.js"),
        ('<link rel="icon" href="//example.org/x">', "loads //example.org/x"),
        ("<style>@import 'https://example.org/x.css';</style>", "loads https://example.org/x.css"),
        ('<p style="background: url(http://example.org/x)">', "loads http://example.org/x"),
    ],
)
def test_a_problem_is_found(site: Path, added: str, problem: str):
    with (site / "index.html").open("a") as page:
        page.write(added)
    assert problems(site) == [f"index.html{' ' if problem.startswith('loads') else ': '}{problem}"]


def test_a_style_sheet_must_not_load_anything_from_elsewhere(site: Path):
    (site / "page.css").write_text("@font-face { src: url(https://example.org/font) }")
    assert problems(site) == ["page.css loads https://example.org/font"]


def test_the_program_lists_far_links_in_a_file_and_fails_on_a_broken_link(site: Path):
    listed = site.with_name("outside.txt")
    command = [sys.executable, "-m", "tools.check_site_links", site, listed]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert listed.read_text() == "https://example.org/x  index.html\n"

    (site / "cat.png").unlink()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "page.css: cat.png: no such file" in done.stderr
