"""axe-core finds no serious problem in the explorer."""

from pathlib import Path

import pytest
from support.axe import find_problems, needs_axe
from support.browser import chromium
from support.explorer_inputs import PINNED, UNPINNED, Site

pytestmark = [pytest.mark.long, needs_axe]


def test_axe_finds_no_serious_problem_in_the_explorer(site: Site, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as tab:
        for page in (site.index, site.page(PINNED), site.page(UNPINNED)):
            assert find_problems(tab, page) == []
