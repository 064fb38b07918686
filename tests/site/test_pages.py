"""The pages of the explorer: that everything known is there, that it is escaped, and that nothing else is loaded."""

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from support.explorer_inputs import PINNED, UNPINNED, UNTOUCHED, Site, measured, write_receipt_of
from support.html_pages import Node, read
from support.reports import HOSTILE
from support.zoo_entries import checkpoints, entry

from reidhub.errors import UsageError
from reidhub.site.content import Content
from reidhub.site.measurements import Measurement
from reidhub.site.pages import render_checkpoint, render_index
from reidhub.verification.receipt_results import read_results
from reidhub.zoo.artifact import Source
from reidhub.zoo.checkpoint import IMAGENET
from reidhub.zoo.describe import find_gflops
from reidhub.zoo.manifest import zoo

REFERENCES = {"aria-labelledby", "aria-describedby"}
SHOWN = re.sub("[\x07\u202e]", "\N{REPLACEMENT CHARACTER}", HOSTILE)


@pytest.fixture(scope="module")
def index(site: Site) -> Node:
    return read(site.index.read_text())


def table_rows(page: Node) -> list[Node]:
    return page.one("table", id="figures").all("tbody")[0].all("tr")


def rows(page: Node) -> list[dict[str, str]]:
    """The cells of the table, by the titles of their columns."""
    titles = [head.text for head in page.one("table", id="figures").all("thead")[0].all("th")]
    return [
        dict(zip(titles, [cell.text for cell in row if cell.tag in ("td", "th")], strict=True))
        for row in table_rows(page)
    ]


def test_the_table_has_a_row_for_each_checkpoint_and_test_set(index: Node) -> None:
    expected = [(c.name, score.dataset if score else "—") for c in zoo().checkpoints for score in c.scores or (None,)]
    assert [(row["checkpoint"], row["tested on"]) for row in rows(index)] == expected
    for row in rows(index):
        checkpoint = zoo().by_name[row["checkpoint"]]
        score = next((one for one in checkpoint.scores if one.dataset == row["tested on"]), None)
        values = score.values if score else {}
        first = f"{values['top1']} top-1" if "top1" in values else values.get("rank1", "—")
        assert (row["rank-1, %"], row["mAP, %"]) == (first, values.get("mAP", "—"))
        assert row["domain"] == (checkpoint.find_domain(score) if score else "—")
        assert row["trained on"] == (" + ".join(checkpoint.trained_on) or "not known")
        assert row["size, MB"] == (f"{checkpoint.artifact.size / 1e6:.1f}" if checkpoint.artifact.size else "—")
        assert checkpoint.licence.startswith(row["licence"])
        assert (row["grade"] == "unpinned") is not checkpoint.artifact.pinned


def test_the_table_shows_the_verdict_of_the_comparable_result(index: Node) -> None:
    verdicts = {row["checkpoint"]: row["verdict"] for row in rows(index) if row["verdict"] != "—"}
    assert verdicts == {PINNED: "◆ close", UNPINNED: "✕ deviates"}
    values = {row.attributes["data-thing"]: row.attributes["data-verdict"] for row in table_rows(index)}
    assert (values[PINNED], values[UNPINNED], values[UNTOUCHED]) == ("close", "deviates", "not measured")


def test_each_filter_offers_every_value_that_a_row_has(index: Node) -> None:
    for select in index.all("select"):
        key = select.attributes["id"]
        offered = [option.text for option in select.all("option")]
        values = [row.attributes[f"data-{key}"] or "" for row in table_rows(index)]
        assert offered[0] == "all" and set(offered[1:]) == {one for lines in values for one in lines.split("\n") if one}
    assert [select.attributes["id"] for select in index.all("select")] == [
        "model", "trained-on", "tested-on", "domain", "size", "licence", "verdict",
    ]  # fmt: skip


def test_each_test_set_with_a_known_map_has_a_plot_with_all_its_marks(index: Node) -> None:
    printed: dict[str, list[Decimal]] = {}
    for checkpoint in zoo().checkpoints:
        for score in checkpoint.scores:
            if "mAP" in score.values and find_gflops(checkpoint):
                printed.setdefault(score.dataset, []).append(score.decimal("mAP"))
    plots = {figure.all("strong")[0].text.rpartition(", ")[2]: figure for figure in index.all("figure", "plot")}
    assert plots.keys() == printed.keys() and len(plots) == 7
    for dataset, figure in plots.items():
        marks = figure.all("rect", "point")
        assert len(marks) == len(printed[dataset])
        heights = sorted(-float(mark.attributes["y"] or 0) for mark in marks)
        assert heights == [-float(m.attributes["y"] or 0) for m in marks][::-1], "the best mark is drawn first"
    market = plots["market1501"]
    marks = [mark.classes for mark in market.all("path", "mark")]
    assert marks == [["mark", "not-comparable"], ["mark", "deviates"], ["mark", "close"]]
    hollow = [mark.all("title")[0].text.partition(":")[0] for mark in market.all("rect", "hollow")]
    assert hollow and all("market1501" not in zoo().by_name[name].trained_on for name in hollow)


def test_plots_are_images_without_links_inside(index: Node) -> None:
    for svg in index.all("svg"):
        assert svg.attributes["role"] == "img" and not svg.all("a") and svg.all("desc")[0].text


@pytest.mark.parametrize("name", [checkpoint.name for checkpoint in zoo().checkpoints[::9]])
def test_a_page_tells_everything_that_is_known(site: Site, name: str) -> None:
    checkpoint, page = zoo().by_name[name], read(site.page(name).read_text())
    artifact = checkpoint.artifact
    facts = [checkpoint.licence, *checkpoint.notices, *checkpoint.trained_on, checkpoint.distance]
    facts += [artifact.digest.hex if artifact.digest else "not known", artifact.evidence or "", artifact.grade or ""]
    facts += [f"{artifact.size:,} bytes" if artifact.size else "not known", str(list(checkpoint.input.mean))]
    facts += [text for score in checkpoint.scores for text in (*score.values.values(), score.source)]
    facts += [text for one in checkpoint.measured_elsewhere for text in (*one.values.values(), one.who, one.how)]
    assert [fact for fact in facts if fact not in page.text] == []
    links = [link.attributes["href"] for link in page.all("td", "address") for link in link.all("a")]
    assert links == [source.location for source in artifact.sources]
    notices = [item.text for box in page.all("ul", "notice") for item in box.all("li")]
    assert notices[: len(checkpoint.notices)] == list(checkpoint.notices)
    assert len(notices) == len(checkpoint.notices) + (not artifact.pinned)


def test_a_page_has_all_results_with_their_conditions(site: Site) -> None:
    articles = read(site.page(PINNED).read_text()).all("article")
    assert [article.all("p", "reason")[0].text for article in articles] == [
        "□ not comparable: partial copy: 1 of 2 images", "◆ close",
    ]  # fmt: skip
    for article in articles:
        assert "cpu: a processor, 2 threads" in article.text and "euclidean" in article.text
        assert "f" * 64 in article.text and "94.280" in article.text and "by its name alone" not in article.text
    (unpinned,) = read(site.page(UNPINNED).read_text()).all("article")
    assert "assigned to it by its name alone" in unpinned.text and "−3.000" in unpinned.text
    assert not read(site.page(UNTOUCHED).read_text()).all("article")


def test_sources_have_their_state_and_its_date(site: Site) -> None:
    states = [row.all("td")[1] for row in read(site.page(PINNED).read_text()).all("tr") if row.all("td", "address")]
    assert {state.text for state in states} == {"● alive\non 2026-11-27"}
    assert {state.one("time").attributes["datetime"] for state in states} == {"2026-11-27T18:00:00Z"}
    states = [row.all("td")[1] for row in read(site.page(UNTOUCHED).read_text()).all("tr") if row.all("td", "address")]
    assert {state.text for state in states} == {"not checked"}


def test_the_code_to_copy_is_valid_and_names_the_checkpoint(site: Site) -> None:
    for checkpoint in zoo().checkpoints[::5]:
        python, shell, hub = (code.text for code in read(site.page(checkpoint.name).read_text()).all("pre"))
        compile(python, "python", "exec"), compile(hub, "hub", "exec")
        assert f'"{checkpoint.name}"' in python and f"reidhub download {checkpoint.name} " in shell
        assert f'"{checkpoint.model}", dataset="{checkpoint.tag}"' in hub
        assert zoo().find_trained(checkpoint.model, checkpoint.tag) is checkpoint
        assert ("embedder" in python) is (checkpoint.trained_on != (IMAGENET,))


def test_no_text_becomes_markup(tmp_path: Path) -> None:
    real = zoo().by_name[PINNED]
    score = replace(real.scores[0], dataset=HOSTILE, source=HOSTILE, not_comparable=HOSTILE)
    other = replace(real.measured_elsewhere[0], dataset=HOSTILE, who=HOSTILE, how=HOSTILE, source=HOSTILE)
    sources = (Source("https", "javascript:alert(1)"), Source("local", f"file:///{HOSTILE}"))
    artifact = replace(real.artifact, evidence=HOSTILE, original_file=HOSTILE, sources=sources)
    hostile = replace(
        real, trained_on=(HOSTILE,), scores=(score,), measured_elsewhere=(other,), notices=(HOSTILE,), licence=HOSTILE,
        loss=HOSTILE, transforms=(HOSTILE,), artifact=artifact,
    )  # fmt: skip
    (result,) = read_results(write_receipt_of(tmp_path / "r.json", [measured(real, "market1501")]))
    assert result.copy and result.conditions
    result = replace(result, dataset=HOSTILE, reason=HOSTILE, copy=replace(result.copy, title=HOSTILE, partial=HOSTILE))
    content = Content((hostile,), {real.name: [Measurement(result, "name")]}, {}, None)
    for text in (render_index(content), render_checkpoint(hostile, content)):
        page = read(text)
        assert len(page.all("script")) == 1 and not page.all("img") and SHOWN in page.text
        assert not [name for node in page for name in node.attributes if name.startswith("on")]
        targets = [link.attributes["href"] or "" for link in page.all("a")]
        assert not [target for target in targets if target.startswith(("javascript", "file"))]
    assert "javascript:alert(1)" in page.one("table", **{"class": "sources"}).text


def test_the_pages_load_nothing_and_name_no_other_place(site: Site) -> None:
    for path in (site.index, site.page(PINNED)):
        page = read(path.read_text())
        policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"] or ""
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert not page.all("link") and not page.all("img")
        assert not [node for node in page if {"src", "style"} & node.attributes.keys()]


def test_ids_are_unique_and_all_links_within_the_site_lead_somewhere(site: Site) -> None:
    for path in (site.index, *sorted((site.folder / "checkpoints").glob("*.html"))[::7]):
        page = read(path.read_text())
        ids = [node.attributes["id"] for node in page if "id" in node.attributes]
        assert len(ids) == len(set(ids))
        assert {node.attributes[name] for node in page for name in REFERENCES & node.attributes.keys()} <= set(ids)
        for link in page.all("a"):
            target = link.attributes["href"] or ""
            if target.startswith("#"):
                assert target[1:] in ids
            elif not target.startswith("https://") and link.text != "Documentation":
                assert (path.parent / target).is_file()


@pytest.mark.parametrize(
    ("docs", "start", "page"),
    [
        ("../index.html", "../index.html", "../../index.html"),
        ("guide/", "guide/", "../guide/"),
        ("/docs/", "/docs/", "/docs/"),
        ("https://example.org/a?b=1&c", "https://example.org/a?b=1&c", "https://example.org/a?b=1&c"),
        (None, None, None),
    ],
)
def test_every_page_links_to_the_documentation(docs: str | None, start: str | None, page: str | None) -> None:
    (checkpoint, *_) = zoo().checkpoints
    content = Content.read([checkpoint], (), None, docs)
    found = [
        next((link.attributes["href"] for link in read(text).all("a") if link.text == "Documentation"), None)
        for text in (render_index(content), render_checkpoint(checkpoint, content))
    ]
    assert found == [start, page]


@pytest.mark.parametrize(
    "docs",
    [
        *(
            "javascript:alert(1)",
            "javascript://x/%0aalert(1)",
            "java\nscript:x",
            " javascript:x",
            "data:x",
            "file:///x",
        ),
        *("", "//example.org", "https:example.org", "ftp://example.org", "a\\b"),
    ],
)
def test_an_unsafe_address_of_the_documentation_is_refused(docs: str) -> None:
    with pytest.raises(UsageError, match="expected an address for the documentation"):
        Content.read([], (), None, docs)


def test_a_checkpoint_of_a_users_manifest_says_how_to_add_it(tmp_path: Path) -> None:
    (own,) = checkpoints(tmp_path, entry("a.mine", f"local: {tmp_path}/mine.pth"))
    page = read(render_checkpoint(own, Content((own,), {}, {}, None)))
    assert "not part of the package's own zoo" in page.text and "No scores are reported." in page.text
    (cell,) = page.all("td", "address")
    assert cell.text == f"file://{tmp_path}/mine.pth" and not cell.all("a")


def test_a_site_without_scores_has_no_plots_and_says_so(tmp_path: Path) -> None:
    own = checkpoints(tmp_path, entry("a.mine", "https: https://example.org/a.pth"))
    page = read(render_index(Content(tuple(own), {}, {}, None)))
    assert "there is nothing to plot" in page.text and not page.all("figure")
    assert [(row["checkpoint"], row["tested on"], row["verdict"]) for row in rows(page)] == [("a.mine", "—", "—")]
