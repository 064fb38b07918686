"""The package, the manifest and the examples name pages of the documentation by their titles."""

import re
from pathlib import Path

from support.paths import ROOT

TITLES = {page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for page in ROOT.glob("docs/**/*.md")}
FILES = [
    ROOT / "hubconf.py",
    *sorted(ROOT.glob("reidhub/**/*.py")),
    *sorted(ROOT.glob("examples/*.py")),
    *sorted(ROOT.glob("manifest/*.*")),
]
PHRASE = "the docs, page "


def read_words(path: Path) -> str:
    """Read a file as one line, so that a phrase may go on in the next line or text of Python."""
    return re.sub(r"[\s\"#]+", " ", path.read_text(encoding="utf-8"))


def find_wrong_titles(text: str) -> list[str]:
    """Return the words after each `PHRASE` that is not followed by a title."""
    named = text.split(PHRASE)[1:]
    return [words[:40] for words in named if not any(re.match(rf"{re.escape(title)}\b", words) for title in TITLES)]


def test_each_page_that_is_named_exists():
    assert {path.name: found for path in FILES if (found := find_wrong_titles(read_words(path)))} == {}
    assert sum(read_words(path).count(PHRASE) for path in FILES) > 10


def test_no_text_names_a_path_of_the_documentation():
    assert [path.name for path in FILES if re.search(r"\bdocs/", read_words(path))] == []


def test_a_wrong_title_is_found():
    assert find_wrong_titles("see the docs, page Mirrors, and the docs, page Manifest.") == ["Mirrors, and "]
