"""The HTML report in a real browser: what it complains about, where the keyboard gets to, a narrow screen."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import CHROMIUM, LOW_CONTRASTS, Tab, chromium
from support.reports import report

from reidhub.verification.report import write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

TABLE = "document.getElementById('figures')"
SHOWN = f"[...{TABLE}.tBodies[0].rows].filter(row => !row.hidden)"
FOCUSED = "document.activeElement.id || document.activeElement.textContent.trim()"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(*report(tmp_path_factory.mktemp("data")), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("chromium") / "profile") as tab:
        yield tab


@pytest.fixture
def tab(browser: Tab, page: Path) -> Tab:
    """The page, just opened on a desktop."""
    browser.open(page)
    return browser


def cells(tab: Tab, column: int) -> list[str]:
    """The texts of a column, in the order in which they are shown."""
    return tab.run(f"{SHOWN}.map(row => row.cells[{column}].textContent)")


def focus_after(tab: Tab, presses: int) -> list[str]:
    seen = []
    for _ in range(presses):
        tab.press("Tab")
        seen.append(tab.run(FOCUSED))
    return seen


def test_the_browser_finds_nothing_wrong_and_loads_nothing_else(tab: Tab, page: Path) -> None:
    assert tab.run("document.images.length") > 100
    assert tab.run("[...document.images].filter(image => image.naturalWidth === 0).length") == 0
    assert tab.run("getComputedStyle(document.body).maxWidth") == "1216px", "the style was refused"
    assert tab.run("document.getElementById('controls').hidden") is False, "the script was refused"
    assert tab.complaints() == []
    assert [url for url in tab.requests() if not url.startswith("data:")] == [page.as_uri()]


def test_the_policy_stops_what_a_name_might_smuggle_in(tab: Tab) -> None:
    tab.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hurt = 1\">')")
    tab.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hurt = 1'}))")
    tab.run("fetch('https://example.invalid').then(() => { window.hurt = 1 }, () => {})")
    assert tab.run("window.hurt") is None and len(tab.complaints()) >= 3


def test_every_link_leads_to_something_on_the_page(tab: Tab) -> None:
    links = tab.run("[...document.links].map(link => link.getAttribute('href'))")
    assert len(links) > 15 and tab.run("[...document.links].every(link => document.querySelector(link.hash))")
    tab.run("document.querySelector('nav a[href=\"#about-title\"]').click()")
    assert tab.run("location.hash") == "#about-title"


def test_the_keyboard_reaches_every_control_in_order(tab: Tab) -> None:
    seen = focus_after(tab, 18)
    assert seen[0] == "Skip to the results"
    assert seen[1:6] == ["Figures", "Plots", "Checkpoints", "Environment", "About this page"]
    assert seen[6:8] == ["filter", "verdict"]
    heads = ["checkpoint", "dataset", "metric", "reported, %", "measured, %", "deviation, points", "verdict"]
    assert seen[9:16] == heads and seen[16:18] == ["hits", "note"]
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    reached = tab.run(
        "[...document.querySelectorAll('a, button, input, select, summary, .scrolled, .ranked')]"
        ".every(one => one.tabIndex === 0)"
    )
    assert reached and tab.run("[...document.querySelectorAll('[tabindex]')].every(one => one.tabIndex <= 0)")


def test_the_skip_link_is_seen_when_it_has_the_focus_and_skips(tab: Tab) -> None:
    left = "document.querySelector('.skip').getBoundingClientRect().left"
    assert tab.run(left) < 0
    tab.press("Tab")
    assert tab.run(left) >= 0
    tab.press("Enter")
    assert tab.run(FOCUSED) == "main"


def test_a_head_sorts_with_the_keyboard_and_says_so(tab: Tab) -> None:
    tab.run(f"{TABLE}.tHead.rows[0].cells[4].firstChild.focus()")
    before = cells(tab, 4)
    tab.press("Enter")
    numbers = [float(value) for value in before if value != "—"]
    missing = ["—"] * (len(before) - len(numbers))
    assert cells(tab, 4) == [f"{number:.3f}" for number in sorted(numbers)] + missing
    tab.press(" ")
    assert cells(tab, 4) == [f"{number:.3f}" for number in sorted(numbers, reverse=True)] + missing
    sort = f"[...{TABLE}.tHead.rows[0].cells].map(cell => cell.getAttribute('aria-sort'))"
    assert tab.run(sort) == [None] * 4 + ["descending"] + [None] * 4
    deviations = cells(tab, 5)
    tab.run(f"{TABLE}.tHead.rows[0].cells[5].firstChild.click()")
    assert cells(tab, 5)[0] == "−7.500" != deviations[0]


def test_the_table_can_be_filtered_and_tells_how_much_is_left(tab: Tab) -> None:
    tab.run("document.getElementById('filter').focus()")
    tab.call("Input.insertText", text="PARTIAL rank-1")
    assert cells(tab, 0) == ["osnet_x1_0.partial"]
    assert tab.run("document.getElementById('shown').textContent") == "1 of 15 rows are shown"
    tab.run("document.getElementById('filter').value = ''")
    tab.run("document.getElementById('verdict').value = 'deviates'")
    tab.run("document.getElementById('verdict').dispatchEvent(new Event('change'))")
    assert cells(tab, 0) == ["osnet_x1_0.deviates"]


def test_queries_open_and_close_with_the_keyboard(tab: Tab) -> None:
    assert tab.run("[...document.querySelectorAll('article')[0].querySelectorAll('details')].map(d => d.open)") == [
        True, False, False, True, False, False,
    ]  # fmt: skip
    tab.run("document.querySelectorAll('summary')[1].focus()")
    tab.press("Enter")
    assert tab.run("document.querySelectorAll('details')[1].open") is True
    opened = "[...document.querySelectorAll('details')].filter(query => query.open).length"
    tab.run("document.getElementById('open-all').focus()")
    tab.press("Enter")
    assert tab.run(opened) == tab.run("document.querySelectorAll('details').length")
    tab.press("Enter")
    assert tab.run(opened) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_never_scrolls_sideways(browser: Tab, page: Path, scheme: str) -> None:
    browser.open(page, width=360, height=740, scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach(query => { query.open = true })")
    assert browser.run("document.documentElement.scrollWidth") == 360
    wide = (
        "[...document.querySelectorAll('body *')].filter(one => !one.closest('.scrolled, .ranked, .skip, .unseen') "
        "&& one.getBoundingClientRect().right > 360).map(one => one.outerHTML.slice(0, 99))"
    )
    assert browser.run(wide) == []
    assert browser.run("document.querySelector('.scrolled').scrollWidth") > 360
    assert browser.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(browser: Tab, page: Path, scheme: str) -> None:
    browser.open(page, scheme=scheme)
    assert browser.run(LOW_CONTRASTS) == []


def test_without_its_script_the_page_is_whole(browser: Tab, page: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        document = browser.call("DOM.getDocument")["root"]["nodeId"]

        def count(selector: str) -> int:
            return len(browser.call("DOM.querySelectorAll", nodeId=document, selector=selector)["nodeIds"])

        assert count("#controls[hidden]") == count("#open-all[hidden]") == 1
        assert count("#figures tbody tr") == 15 and count("details") > 20 and count("th button") == 0
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
