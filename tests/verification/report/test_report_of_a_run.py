"""``reidhub verify --html``: a real run of a real model over real images, told as a page."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.html_pages import Node, read
from support.verify_runs import NAME, Done, claim, entry, run_here, write_images, write_manifest, write_weights


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root, a checkpoint file and its manifest."""
    folder = write_images(tmp_path_factory.mktemp("corridor"))
    write_weights(folder, NAME, seed=3)
    write_manifest(folder, entry(NAME, claim(rank1="20.0", mAP="30.0")))
    return folder


@pytest.fixture
def verify(place: Path, monkeypatch, capsys) -> Callable[..., Done]:
    """Runs ``reidhub verify`` in this process."""
    monkeypatch.setenv("REIDHUB_MANIFEST", str(place / "zoo.yaml"))
    return lambda *arguments: run_here(monkeypatch, capsys, "verify", "--data-root", str(place), *arguments)


def article(page: Node) -> Node:
    return page.one("article", **{"aria-labelledby": "result-0"})


def test_a_run_is_told_as_a_page_and_the_next_one_as_the_same(verify, place: Path, tmp_path: Path) -> None:
    done = verify(NAME, "--html", str(tmp_path / "one"), "--json")
    (result,) = json.loads(done.stdout)
    page = read((tmp_path / "one" / "index.html").read_text())
    told = article(page).text
    for fact in (NAME, result["file"]["sha256"], result["copy"]["fingerprint"], result["counts"]["per_query_sha256"]):
        assert fact in told
    images = article(page).all("img")
    assert len(images) > 30 and all((place / "corridor" / (img.attributes["alt"] or "")).exists() for img in images)
    for figure in article(page).all("figure"):
        camera = re.search(r"_c(\d+)s", figure.one("img").attributes["alt"] or "")
        assert camera and f"camera {camera[1]}" in figure.text
    verify(NAME, "--html", str(tmp_path / "two"))
    assert (tmp_path / "one" / "index.html").read_bytes() == (tmp_path / "two" / "index.html").read_bytes()


def test_reranked_images_are_in_the_order_that_was_counted_and_need_not_be_shown(verify, tmp_path: Path) -> None:
    verify(NAME, "--rerank", "--no-images", "--html", str(tmp_path))
    page = read((tmp_path / "index.html").read_text())
    assert not page.all("img") and len(article(page).all("details")) == 6
    for query in article(page).all("details"):
        first = next(li for li in query.all("li") if "right" in li.classes)
        rank = first.all("b")[0].text.split()[0]
        assert f"first right image at rank {rank} " in query.all("summary")[0].text


def test_no_images_without_a_report_is_wrong_usage(verify) -> None:
    done = verify(NAME, "--no-images")
    assert done.returncode == 2 and "error: --no-images changes the report, which needs --html" in done.stderr


def test_what_could_not_be_run_is_on_the_page(verify, tmp_path: Path) -> None:
    done = verify("osnet_x1_0.msmt17", "--html", str(tmp_path))
    page = read((tmp_path / "index.html").read_text())
    assert done.returncode == 1 and "not run" in page.one("table", id="figures").text and not page.all("details")
