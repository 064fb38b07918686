"""Every page of ``docs/`` has one title and one place in the contents, and links between pages lead somewhere.

The tests of the built site check the same and more, but take longer. Here, nothing is built.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
OTHERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
BUILT = {DOCS / "commands.md"}
"""Pages with headings that only the built site has."""


@cache
def parse(page: Path) -> list[Any]:
    """The tokens of a page, and those within them."""
    tokens = MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
    return [part for token in tokens for part in (token, *(token.children or ()))]


def headings(page: Path, level: int | None = None) -> list[str]:
    tokens = parse(page)
    wanted = {f"h{level}"} if level else {"h1", "h2", "h3"}
    starts = [place for place, token in enumerate(tokens) if token.type == "heading_open" and token.tag in wanted]
    return ["".join(t.content for t in tokens[place + 1].children if t.type != "link_open") for place in starts]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, by GitHub's rules; equal headings get a number."""
    found: set[str] = set()
    for heading in headings(page):
        name = slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while name in found:
            number += 1
            name = f"{slug}-{number}"
        found.add(name)
    return found


def listed_pages() -> list[Path]:
    """The pages that the contents list, in order."""
    found = []
    for page in PAGES:
        for tree in re.findall(r"^:::\{toctree\}\n(.*?)^:::", page.read_text(encoding="utf-8"), re.M | re.S):
            names = [re.sub(r".*<(.*)>", r"\1", line) for line in tree.splitlines() if line and line[0] != ":"]
            found += [page.parent / f"{name}.md" for name in names]
    return found


def test_every_page_is_in_the_contents_once():
    assert sorted(listed_pages()) == [page for page in PAGES if page != DOCS / "index.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_has_one_title(page: Path):
    assert len(headings(page, 1)) == 1


@pytest.mark.parametrize("page", PAGES + OTHERS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_and_headings_lead_somewhere(page: Path):
    links = [token.attrs.get("href", token.attrs.get("src")) for token in parse(page)]
    for link in [urlsplit(address) for address in links if address and ":" not in address]:
        target = (page.parent / unquote(link.path)).resolve() if link.path else page
        assert target.exists(), link.geturl()
        if link.fragment and target not in BUILT:
            assert link.fragment in anchors(target), link.geturl()
