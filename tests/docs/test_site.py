"""The built documentation site: it is complete, loads nothing from elsewhere, and can be searched and read by all."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from support.axe import find_problems, needs_axe
from support.browser import CHROMIUM, Tab, chromium

from reidhub.cli import COMMANDS
from tools.check_site_links import read_site

pytestmark = pytest.mark.long

SEARCH = """new Promise(resolve => {
  Search.performSearch("exact embedder");
  const found = document.querySelector("#search-results");
  const look = () => found.textContent.includes("Search finished")
    ? resolve([...found.querySelectorAll("li a")].map(link => link.getAttribute("href")))
    : setTimeout(look, 50);
  look();
})"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with chromium(tmp_path_factory.mktemp("chromium") / "profile") as tab:
        yield tab


def test_addresses_outside_of_the_site_are_listed(site: Path):
    listed = (site.parent / "outside-links.txt").read_text(encoding="utf-8").splitlines()
    assert listed and all(line.startswith("https://") and ".html" in line for line in listed)
    assert any(line.startswith("https://semver.org  ") and "releasing.html" in line for line in listed)


@pytest.mark.parametrize("package", ["reidhub", "reidhub.metrics", "reidhub.testing", "reidhub.compat"])
def test_every_public_name_has_an_entry(site: Path, package: str):
    anchors = {anchor for page in read_site(site / "reference").values() for anchor in page.anchors}
    names = set(import_module(package).__all__) - {"__version__", "compat", "metrics"}
    assert {name for name in names if f"{package}.{name}" not in anchors} == set()


def test_every_command_has_a_section(site: Path):
    [page] = [page for path, page in read_site(site).items() if path.name == "commands.html"]
    wanted = {f"reidhub-{name}" for name in COMMANDS} | {"reidhub-cache-add"}
    assert wanted - page.anchors == set()


def test_the_browser_loads_no_page_from_elsewhere_and_finds_nothing_wrong(site: Path, tab: Tab):
    for page in sorted(site.rglob("*.html")):
        tab.open(page)
        assert [address for address in tab.requests() if not address.startswith(("file:", "data:"))] == [], page
        assert tab.complaints() == [], page


def test_no_page_is_wider_than_a_narrow_screen(site: Path, tab: Tab):
    for page in sorted(site.rglob("*.html")):
        tab.open(page, width=375)
        assert tab.run("document.documentElement.scrollWidth") == 375, page


def test_the_search_finds_pages_without_a_web_server(site: Path, tab: Tab):
    tab.open(site / "search.html")
    links = tab.run(SEARCH)
    assert "reference/embeddings.html" in links


@needs_axe
@pytest.mark.parametrize("name", ["index", "commands", "reference/models", "choosing", "search"])
def test_axe_finds_no_serious_problem_on_a_page(site: Path, tab: Tab, name: str):
    assert find_problems(tab, site / f"{name}.html") == []
