"""The explorer in a real browser: what it complains about, what the keyboard reaches, a narrow screen, dark colours."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import CHROMIUM, LOW_CONTRASTS, Tab, chromium
from support.explorer_inputs import PINNED, UNPINNED, Site

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

TABLE = "document.getElementById('figures')"
SHOWN = f"[...{TABLE}.tBodies[0].rows].filter(row => !row.hidden)"
FOCUSED = "document.activeElement.id || document.activeElement.textContent.trim()"
STATUS = "document.getElementById('shown').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("chromium") / "profile") as tab:
        yield tab


@pytest.fixture
def start(browser: Tab, site: Site) -> Tab:
    """The start page, just opened on a desktop."""
    browser.open(site.index)
    return browser


@pytest.fixture
def page(browser: Tab, site: Site) -> Tab:
    """The page of a checkpoint that has results, just opened on a desktop."""
    browser.open(site.page(PINNED))
    return browser


def cells(tab: Tab, title: str) -> list[str]:
    """The texts of a column, in the order in which they are shown."""
    column = f"[...{TABLE}.tHead.rows[0].cells].findIndex(head => head.textContent === '{title}')"
    return tab.run(f"{SHOWN}.map(row => row.cells[{column}].textContent)")


def choose(tab: Tab, key: str, value: str) -> None:
    tab.run(f"document.getElementById('{key}').value = {value!r}")
    tab.run(f"document.getElementById('{key}').dispatchEvent(new Event('change'))")


@pytest.mark.parametrize("name", ["index", "checkpoint"])
def test_the_browser_finds_nothing_wrong_and_loads_nothing_else(browser: Tab, site: Site, name: str) -> None:
    path = site.index if name == "index" else site.page(PINNED)
    browser.open(path)
    assert browser.run("getComputedStyle(document.querySelector('.skip')).position") == "absolute"
    assert browser.run("document.querySelectorAll('button').length") == (12 if name == "index" else 3)
    assert browser.complaints() == [] and browser.requests() == [path.as_uri()]


def test_filters_leave_what_fits_and_say_how_many_checkpoints(start: Tab) -> None:
    assert start.run(STATUS) == "112 of 112 checkpoints are shown"
    choose(start, "tested-on", "market1501")
    tested = cells(start, "tested on")
    assert set(tested) == {"market1501"} and start.run(STATUS) == f"{len(tested)} of 112 checkpoints are shown"
    choose(start, "domain", "cross")
    assert cells(start, "checkpoint") and all("market1501" not in trained for trained in cells(start, "trained on"))
    choose(start, "domain", "")
    choose(start, "trained-on", "msmt17")
    assert all("msmt17" in trained.split(" + ") for trained in cells(start, "trained on"))
    choose(start, "size", "at most 20 MB")
    assert cells(start, "checkpoint") and all(float(size) <= 20 for size in cells(start, "size, MB"))
    choose(start, "size", "")
    choose(start, "trained-on", "")
    choose(start, "verdict", "close")
    assert cells(start, "checkpoint") == [PINNED]
    choose(start, "verdict", "not measured")
    assert PINNED not in cells(start, "checkpoint") and UNPINNED not in cells(start, "checkpoint")
    choose(start, "model", "fastreid_agw_r50")
    assert cells(start, "checkpoint") == []
    choose(start, "verdict", "deviates")
    assert cells(start, "checkpoint") == [UNPINNED]
    choose(start, "verdict", "")
    choose(start, "tested-on", "dukemtmcreid")
    assert cells(start, "checkpoint") == ["fastreid_agw_r50.dukemtmcreid"]
    choose(start, "tested-on", "market1501")
    choose(start, "model", "hacnn")
    choose(start, "licence", "research use")
    assert cells(start, "checkpoint") == ["hacnn.market1501"]
    choose(start, "licence", "not stated")
    assert cells(start, "checkpoint") == [] and start.run(STATUS) == "0 of 112 checkpoints are shown"


def test_the_text_filter_finds_words_in_any_column(start: Tab) -> None:
    start.run("document.getElementById('filter').focus()")
    start.call("Input.insertText", text="OSNET 94.2 strong")
    assert cells(start, "checkpoint") == [PINNED]


def test_a_checkpoint_with_several_test_sets_counts_once(start: Tab) -> None:
    choose(start, "model", "osnet_ain_x1_0")
    names = cells(start, "checkpoint")
    assert len(names) > len(set(names))
    assert start.run(STATUS) == f"{len(set(names))} of 112 checkpoints are shown"


@pytest.mark.parametrize(
    ("title", "best_first"),
    [
        ("rank-1, %", True),
        ("mAP, %", True),
        ("multiply-adds, 10⁹", False),
        ("parameters,10⁶", False),
        ("size, MB", False),
    ],
)
def test_numbers_sort_as_numbers_with_the_keyboard_scores_best_first(start: Tab, title: str, best_first: bool) -> None:
    before = cells(start, title)
    assert before
    start.run(f"[...{TABLE}.tHead.rows[0].cells].find(head => head.textContent === '{title}').firstChild.focus()")
    start.press("Enter")
    known = [float(text.split()[0]) for text in cells(start, title) if text != "—"]
    assert known == sorted(known, reverse=best_first) and len(set(known)) > 5
    start.press(" ")
    assert [float(text.split()[0]) for text in cells(start, title) if text != "—"] == known[::-1]
    assert cells(start, title)[len(known) :] == ["—"] * (len(before) - len(known))
    assert start.run(f"{TABLE}.querySelector('[aria-sort]').textContent") == title


def test_the_keyboard_reaches_everything_in_order(start: Tab) -> None:
    seen = []
    for _ in range(13):
        start.press("Tab")
        seen.append(start.run(FOCUSED))
    assert seen[:5] == ["Skip to the checkpoints", "Table", "Plots", "About this site", "Documentation"]
    assert seen[5:] == ["filter", "model", "trained-on", "tested-on", "domain", "size", "licence", "verdict"]
    assert start.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    controls = "[...document.querySelectorAll('a, button, input, select, pre, .scrolled')]"
    assert start.run(f"{controls}.every(one => one.tabIndex === 0)")


def test_a_name_leads_to_the_page_of_the_checkpoint_and_back(start: Tab, site: Site) -> None:
    start.run(f"[...document.links].find(link => link.textContent === '{PINNED}').click()")
    start.wait_for(f"location.pathname + document.readyState === '{site.page(PINNED)}complete'")
    assert start.run("document.querySelector('h1').textContent") == PINNED
    assert start.run("document.querySelector('nav a').href") == site.index.as_uri()


def test_code_is_copied_from_a_file(page: Tab) -> None:
    page.run("document.querySelectorAll('.code button')[1].focus()")
    expected = page.run("document.querySelectorAll('pre')[1].textContent")
    page.press("Enter")
    assert paste(page) == expected and "reidhub download" in expected
    assert page.run("document.getElementById('copied').textContent") == "Copied"


def test_code_is_copied_where_there_is_no_clipboard_interface(page: Tab) -> None:
    page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.run("document.querySelectorAll('.code button')[2].focus()")
    page.press("Enter")
    assert paste(page) == page.run("document.querySelectorAll('pre')[2].textContent")


def paste(tab: Tab) -> str:
    """Wait for the page to say that it has copied, and return what a paste inserts into a new text field."""
    tab.wait_for("document.getElementById('copied').textContent")
    tab.run("document.body.append(Object.assign(document.createElement('textarea'), {id: 'pasted'}))")
    tab.run("document.getElementById('pasted').focus()")
    tab.call("Input.dispatchKeyEvent", type="keyDown", key="v", modifiers=2, commands=["paste"])
    return tab.run("document.getElementById('pasted').value")


@pytest.mark.parametrize("name", ["index", "checkpoint", "unpinned"])
def test_a_narrow_screen_never_scrolls_sideways(browser: Tab, site: Site, name: str) -> None:
    pages = {"index": site.index, "checkpoint": site.page(PINNED), "unpinned": site.page(UNPINNED)}
    browser.open(pages[name], width=360, height=740)
    assert browser.run("document.documentElement.scrollWidth") == 360
    wide = (
        "[...document.querySelectorAll('body *')].filter(one => !one.closest('.scrolled, pre, .skip, .unseen') "
        "&& one.getBoundingClientRect().right > 360).map(one => one.outerHTML.slice(0, 99))"
    )
    assert browser.run(wide) == [] and browser.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(browser: Tab, site: Site, scheme: str) -> None:
    for path in (site.index, site.page(PINNED), site.page(UNPINNED)):
        browser.open(path, scheme=scheme)
        assert browser.run(LOW_CONTRASTS) == []


def test_without_its_script_the_site_is_whole(browser: Tab, site: Site) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        assert count(browser, site.index, "#controls[hidden]", "th button", "#figures tbody tr") == [1, 0, 123]
        assert count(browser, site.page(PINNED), ".code pre", "button") == [3, 0]
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def count(tab: Tab, path: Path, *selectors: str) -> list[int]:
    """Open a page, and count the elements that each selector matches."""
    tab.open(path)
    document = tab.call("DOM.getDocument")["root"]["nodeId"]
    found = [tab.call("DOM.querySelectorAll", nodeId=document, selector=selector) for selector in selectors]
    return [len(one["nodeIds"]) for one in found]
