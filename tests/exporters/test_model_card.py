"""Model cards: a header that hubs read, scores that say where they come from, and no text that turns into markup."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from markdown_it import MarkdownIt
from support.hub_folders import edit_config, make_folder
from support.reports import HOSTILE, measured, result, retrieval
from support.verify_runs import Done, run_here

from reidhub.errors import UsageError
from reidhub.exporters.model_card import KNOWN_TO_REID, read_measured, write_card
from reidhub.files.digest import Digest
from reidhub.models import ARCHITECTURES
from reidhub.verification.receipt import write_receipt
from reidhub.verification.results import CheckpointFile, Environment, Report
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.hub_folder import choose_title
from reidhub.zoo.manifest import zoo

NAME = "osnet_x1_0.market1501"
HOSTILE_TEXTS = [
    HOSTILE,
    "---\nlicense: mit\n---\n# heading",
    "[click](https://example.org) ![image](https://example.org/a.png) <img src=x> `code`",
    "a: b # c\t'\"{}[]&*!|>%@\\ \x1b[2J \ud800",
    "```\n\n# code ended",
    "| cell | cell |\n|---|---|",
]


def split(card: str) -> tuple[dict[str, Any], str]:
    """Return the header and the page."""
    start, header, page = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(header), page


def headings(page: str) -> list[str]:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(page)
    return [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]


def list_kinds(page: str) -> set[str]:
    """Return the kinds of Markdown elements in a page, also those inside of lines."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(page)
    return {inner.type for token in tokens for inner in [token, *(token.children or [])]}


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Done]:
    """Runs ``reidhub`` in this process."""
    return lambda *arguments: run_here(monkeypatch, capsys, *map(str, arguments))


@pytest.fixture(scope="module")
def receipt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A receipt of `NAME` and of another checkpoint, from random embeddings."""
    folder = tmp_path_factory.mktemp("receipt")
    data, results = retrieval(folder), []
    images = {"query": len(data.query), "gallery": len(data.gallery)}
    drawn = torch.randn(sum(images.values()), 8, generator=torch.Generator().manual_seed(0))
    counts = measured(data, (drawn[: images["query"]], drawn[images["query"] :]))
    for name in (NAME, "osnet_x0_25.msmt17"):
        digest = zoo().by_name[name].artifact.digest
        one = result(name, data, counts, {}, images=images)
        results.append(replace(one, file=CheckpointFile(digest.hex if digest else "0" * 64, 1, "sha256")))
    write_receipt(Report(tuple(results), Environment({}, "Linux", ("cpu",))), folder / "receipt.json")
    return folder / "receipt.json"


def test_the_header_of_every_checkpoint_is_what_a_hub_expects(long: bool) -> None:
    for checkpoint in zoo().checkpoints[:: 1 if long else 5]:
        header, page = split(write_card(checkpoint))
        results = header.pop("model-index")[0]["results"] if checkpoint.scores else []
        assert header == {
            "library_name": "reidhub",
            "pipeline_tag": "image-feature-extraction",
            "license": "other",
            "license_name": "not-stated" if "Apache-2.0" in checkpoint.licence else "research-use",
            "license_link": "LICENSE.md",
            "tags": ["person-re-identification", "re-id", "reidhub", checkpoint.model],
        }
        given = [{m["type"]: m["value"] for m in one["metrics"]} for one in results]
        assert given == [{m: float(v) for m, v in score.values.items()} for score in checkpoint.scores]
        assert [one["dataset"]["type"] for one in results] == [score.dataset for score in checkpoint.scores]
        assert headings(page)[0] == checkpoint.name and all(notice in page for notice in checkpoint.notices)
        assert f'reidhub.embedder("{checkpoint.name}")' in page


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_page_has_code_for_reid_only_if_reid_knows_the_architecture(architecture: str) -> None:
    page = write_card(next(c for c in zoo().checkpoints if c.model == architecture))
    known = architecture in KNOWN_TO_REID
    assert ("ReIDModel.from_pretrained(" in page) is known
    assert (f"The package `reid` does not know the architecture `{architecture}`" in page) is not known
    assert 'reidhub.load("hf://ORG/NAME@COMMIT")' in page


def test_reported_scores_and_those_of_others_keep_their_digits_and_say_who_printed_them() -> None:
    page = split(write_card(zoo().by_name[NAME]))[1]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| mark")]
    assert rows[0] == ["market1501", "reported", "94.2", "", "", "82.6", "torchreid MODEL_ZOO.md, same-domain ReID"]
    assert rows[1][:6] == ["market1501", "by others", "94.36", "97.83", "98.60", "82.55"]
    assert "measured with reidhub" not in page


def test_measured_scores_are_told_apart_from_reported_ones(receipt: Path, run) -> None:
    done = run("card", NAME, "--receipt", receipt)
    header, page = split(done.stdout)
    figures = {f["metric"]: f["measured"] for f in json.loads(receipt.read_text())["results"][0]["figures"]}

    first, second = header["model-index"][0]["results"]
    assert done.returncode == 0
    assert {metric["name"] for metric in first["metrics"]} == {
        "rank-1, reported by the authors",
        "mAP, reported by the authors",
    }
    assert all(metric["name"].endswith(", measured with reidhub") for metric in second["metrics"])
    assert {m["type"]: m["value"] for m in second["metrics"]} == pytest.approx(figures, abs=0.005)
    (row,) = [line for line in page.splitlines() if line.startswith("| corridor")]
    assert "| measured " in row and f"| {figures['mAP']:.2f} | {figures['mINP']:.2f} |" in row
    assert f"euclidean distance; precision fp32; file with sha256 {zoo().by_name[NAME].artifact.digest}" in row


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda result: result["copy"].update(partial="1 of 2 images"), "; incomplete copy: 1 of 2 images; file"),
        (lambda result: result["conditions"].update(rerank=True), "; re-ranked; file"),
        (lambda result: result["conditions"].update(cameras="ignore"), "; cameras ignored; file"),
    ],
)
def test_a_measurement_under_other_conditions_says_so(receipt: Path, tmp_path: Path, change, note: str) -> None:
    content = json.loads(receipt.read_text())
    change(content["results"][0])
    (tmp_path / "changed.json").write_text(json.dumps(content))
    checkpoint = zoo().by_name[NAME]
    found = read_measured(checkpoint, [tmp_path / "changed.json"], checkpoint.artifact.digest)
    assert note in write_card(checkpoint, found)


def test_results_of_another_file_are_not_taken(receipt: Path, run) -> None:
    checkpoint = zoo().by_name[NAME]
    with pytest.raises(UsageError, match=r"has no retrieval of osnet_x1_0.market1501 \(sha256 .*\nhint: it has: "):
        read_measured(checkpoint, [receipt], Digest("a" * 64))
    assert [one.checkpoint for one in read_measured(checkpoint, [receipt], None)] == [NAME]
    done = run("card", "osnet_x1_0.msmt17", "--receipt", receipt)
    assert done.returncode == 2 and not done.stdout and "has no retrieval of osnet_x1_0.msmt17" in done.stderr
    assert "cannot read the receipt" in run("card", NAME, "--receipt", receipt.parent / "none").stderr


def test_a_receipt_without_a_match_is_damaged(receipt: Path, tmp_path: Path, run) -> None:
    content = json.loads(receipt.read_text())
    content["queries"][0].update(first_match_rank="0 0", average_precision="nan nan")
    content["queries"][0].update(inverse_negative_penalty="nan nan")
    (tmp_path / "changed.json").write_text(json.dumps(content))
    done = run("card", NAME, "--receipt", tmp_path / "changed.json")
    assert done.returncode == 2 and "is a damaged receipt: no query of osnet_x1_0.market1501 has a match" in done.stderr


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_no_text_turns_into_markup(receipt: Path, text: str) -> None:
    plain = replace(zoo().by_name[NAME], notices=("plain",))
    score = replace(plain.scores[0], dataset=text, source=text, not_comparable=text)
    checkpoint = replace(
        plain, name=text, notices=(text,), licence=text, scores=(score,), trained_on=(text,), manifest=""
    )
    (found,) = read_measured(plain, [receipt], plain.artifact.digest)
    hostile = replace(found, dataset=text, partial=text, conditions=dict.fromkeys(found.conditions, text))

    header, page = split(write_card(checkpoint, [hostile]))

    assert list_kinds(page) == list_kinds(split(write_card(plain, [found]))[1])
    assert headings(page)[1:] == headings(split(write_card(plain))[1])[1:]
    assert header["license"] == "other" and set(header["license_name"]) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
    assert all(letter.isprintable() for letter in page.replace("\n", ""))


def test_the_card_of_a_folder_has_its_terms_and_no_path_of_this_machine(tmp_path: Path, run) -> None:
    folder = make_folder(tmp_path / "secret")
    edit_config(folder, lambda config: config.update(licence="CC BY 4.0", notices=["do not", "never"]))
    done = run("card", folder, "-o", tmp_path / "cards" / "card.md")
    header, page = split((tmp_path / "cards" / "card.md").read_text())

    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'cards' / 'card.md'}\n")
    assert (header["license_name"], headings(page)[0]) == ("cc-by-4.0", "published")
    assert "model-index" not in header and "No scores are published." in page
    assert page.endswith(
        "Licence and terms of use of the weights: CC BY 4.0.\n\nThe weights belong to their authors.\n"
        "\n- do not\n- never\n"
    )
    assert "secret" not in str(header) + page and "The checkpoint is part of the zoo" not in page
    assert split((folder / "README.md").read_text())[1].startswith("\n# mine\n")


def test_a_checkpoint_of_the_hub_has_the_name_of_its_repository() -> None:
    checkpoint: Checkpoint = replace(zoo().by_name[NAME], name=f"hf://org/some.model@{'0' * 40}")
    assert choose_title(checkpoint) == "some.model"


def test_a_card_that_cannot_be_written_is_an_error(tmp_path: Path, run) -> None:
    (tmp_path / "file").write_text("")
    done = run("card", NAME, "-o", tmp_path / "file" / "card.md")
    assert done.returncode == 1 and "error: cannot write the card" in done.stderr
