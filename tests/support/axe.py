"""Looks for problems of accessibility on a page in the browser, with axe-core from npm.

axe-core is installed into ``build/axe`` when it is first needed. npm is a program of its own, so the tests' socket
guard does not keep it from its registry.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from support.browser import CHROMIUM, Tab
from support.paths import ROOT

NPM = shutil.which("npm")
SCREENS = [(1280, "light"), (1280, "dark"), (375, "light"), (375, "dark")]
"""Width in pixels and colour scheme of the screens on which a page is examined."""
_FOLDER = ROOT / "build" / "axe"
_SCRIPT = _FOLDER / "node_modules" / "axe-core" / "axe.min.js"

needs_axe = pytest.mark.skipif(CHROMIUM is None or NPM is None, reason="no chromium or no npm on this machine")


def find_problems(tab: Tab, page: Path) -> list[str]:
    """Open a page and its closed parts on every screen of `SCREENS`; describe each serious or critical problem."""
    return [problem for width, scheme in SCREENS for problem in _examine(tab, page, width, scheme)]


def _examine(tab: Tab, page: Path, width: int, scheme: str) -> Iterator[str]:
    tab.open(page, width=width, scheme=scheme)
    tab.run("document.querySelectorAll('details').forEach(part => { part.open = true })")
    tab.run(f"{_read_script()}; null")
    found: list[dict[str, Any]] = json.loads(tab.run("axe.run().then(found => JSON.stringify(found.violations))"))
    for violation in found:
        if violation["impact"] in ("serious", "critical"):
            for node in violation["nodes"]:
                place = f"{page.name}, {width} pixels, {scheme}"
                yield f"{place}: {violation['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"


@cache
def _read_script() -> str:
    assert NPM is not None
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(_FOLDER / "lock"):  # several processes of tests share the folder
        if not _SCRIPT.exists():
            subprocess.run([NPM, "install", "--silent", "--prefix", _FOLDER, "axe-core@4"], check=True)
    return _SCRIPT.read_text(encoding="utf-8")
