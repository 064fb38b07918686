"""The tree in docs/architecture.md has every package and every module at the top, and nothing that is gone."""

import re

from support.paths import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_tree_lists_what_is_in_the_package():
    tree = PAGE[PAGE.index("\nreidhub/\n") : PAGE.index("```", PAGE.index("\nreidhub/\n"))]
    listed = set(re.findall(r"^  (\w+(?:\.py|/)) ", tree, re.M))
    found = {f"{path.name}/" if path.is_dir() else path.name for path in (ROOT / "reidhub").iterdir()}
    assert listed == found - {"__pycache__/", "__main__.py", "_version.py", "py.typed"}


def test_the_modules_that_the_page_names_exist():
    named = set(re.findall(r"`(\w+/\w+)`", PAGE))
    assert {"download/fetch", "files/atomic"} <= named
    for name in named:
        assert any((ROOT / "reidhub" / name).with_suffix(end).exists() for end in (".py", "")), name
