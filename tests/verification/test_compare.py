"""``reidhub compare``: receipts and checkpoints side by side, and receipts that are old, damaged or of another copy."""

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.reports import measured, result
from support.verify_runs import (
    NAME,
    SMALL,
    Done,
    claim,
    entry,
    read,
    run_here,
    write_images,
    write_manifest,
    write_weights,
)

from reidhub.errors import UsageError
from reidhub.metrics import compare_means
from reidhub.verification.receipt import write_receipt
from reidhub.verification.receipt_reader import read_receipt
from reidhub.verification.results import Environment, Report

OTHER = "tiny.other"
FIGURES = ("rank1", "rank5", "rank10", "mAP", "mINP")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root, two checkpoint files and their manifest."""
    folder = write_images(tmp_path_factory.mktemp("corridor"))
    for seed, name in enumerate((NAME, OTHER)):
        write_weights(folder, name, seed=3 + seed)
    write_manifest(folder, *(entry(name, claim(rank1="20.0"), input=SMALL) for name in (NAME, OTHER)))
    return folder


@pytest.fixture
def run(place: Path, monkeypatch, capsys) -> Callable[..., Done]:
    """Runs ``reidhub`` in this process."""
    monkeypatch.setenv("REIDHUB_MANIFEST", str(place / "zoo.yaml"))
    return lambda *arguments: run_here(monkeypatch, capsys, *map(str, arguments))


@pytest.fixture(scope="module")
def receipt(place: Path) -> Path:
    """A receipt with a result of each checkpoint, from random embeddings of the images."""
    data, results = read(place), []
    images = {"query": len(data.query), "gallery": len(data.gallery)}
    for seed, name in enumerate((NAME, OTHER)):
        drawn = torch.randn(sum(images.values()), 8, generator=torch.Generator().manual_seed(seed))
        counts = measured(data, (drawn[: images["query"]], drawn[images["query"] :]))
        results.append(result(name, data, counts, {}, images=images))
    write_receipt(Report(tuple(results), Environment({}, "Linux", ("cpu",))), place / "both.json")
    return place / "both.json"


def test_a_receipt_has_the_results_of_all_queries(receipt: Path) -> None:
    written = json.loads(receipt.read_text())
    for one, queries in zip(written["results"], written["queries"], strict=True):
        ranks, precisions, penalties = (
            [float(word) for word in queries[name].split(" ")]
            for name in ("first_match_rank", "average_precision", "inverse_negative_penalty")
        )
        counts = one["counts"]
        assert (queries["checkpoint"], queries["dataset"]) == (one["checkpoint"], one["dataset"])
        assert len(ranks) == len(precisions) == len(penalties) == counts["queries"] + counts["skipped"]
        assert sum(rank == 1 for rank in ranks) == counts["hits"][0]
        assert math.fsum(p for p in precisions if p == p) / counts["queries"] == pytest.approx(counts["mAP"], abs=1e-12)
        assert math.fsum(p for p in penalties if p == p) / counts["queries"] == pytest.approx(counts["mINP"], abs=1e-12)


def test_two_checkpoints_of_a_receipt_are_compared_query_by_query(receipt: Path, run) -> None:
    done = run("compare", f"{receipt}:{NAME}", f"{receipt}:{OTHER}", "--json")
    (found,) = json.loads(done.stdout)
    written = json.loads(receipt.read_text())
    figures = [{f["metric"]: f["measured"] for f in one["figures"]} for one in written["results"]]
    precisions = [[float(word) for word in queries["average_precision"].split()] for queries in written["queries"]]
    pairs = list(zip(*precisions, strict=True))
    interval = compare_means(*precisions)

    assert done.returncode == 0 and found["dataset"] == "corridor"
    assert (found["first"].pop("checkpoint"), found["second"].pop("checkpoint")) == (NAME, OTHER)
    assert found["first"] == pytest.approx(figures[0]) and found["second"] == pytest.approx(figures[1])
    assert found["difference"]["mINP"] == pytest.approx(figures[1]["mINP"] - figures[0]["mINP"])
    assert (found["won"], found["lost"]) == (sum(a < b for a, b in pairs), sum(a > b for a, b in pairs))
    assert found["won"] > 0 < found["lost"] and found["won"] + found["lost"] + found["tied"] == found["queries"]
    assert found["mAP_interval"] == [100 * interval.low, 100 * interval.high]
    assert found["may_be_chance"] == ("may be chance" in done.stderr) == interval.may_be_chance


def test_the_table_shows_both_sides_with_the_difference_and_its_interval(receipt: Path, run) -> None:
    done = run("compare", f"{receipt}:{NAME}", f"{receipt}:{NAME}")
    lines = done.stdout.splitlines()
    assert lines[0] == f"A: {NAME} ({receipt}:{NAME})" and lines[1].startswith(f"B: {NAME}")
    assert [line.split()[1] for line in lines[3:8]] == list(FIGURES)
    assert lines[6].split()[4:] == ["0.000", "0.000", "0.000"] and len(lines[7].split()) == 5
    assert [line.split()[1:] for line in lines[8:]] == [
        ["queries", "won", "0", "0", "0"],
        ["queries", "tied", "10", "10"],
    ]
    assert "note: corridor: the difference in mAP may be chance" in done.stderr


def test_csv_has_all_digits_and_says_on_stderr_what_a_and_b_are(receipt: Path, run) -> None:
    sides = f"{receipt}:{NAME}", f"{receipt}:{OTHER}"
    (found,) = json.loads(run("compare", *sides, "--json").stdout)
    done = run("compare", *sides, "--format", "csv")
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    assert [float(rows["mAP"][title]) for title in ("95 % from", "to")] == found["mAP_interval"]
    assert float(rows["rank1"]["B"]) == found["second"]["rank1"] and rows["rank1"]["to"] == ""
    assert [int(rows[name]["A"]) for name in ("queries won", "queries tied")] == [found["lost"], found["tied"]]
    assert done.stderr.startswith(f"A: {NAME} ({sides[0]})\nB: {OTHER}")


def test_a_name_is_measured_now_on_the_datasets_of_the_receipt(place: Path, receipt: Path, run) -> None:
    done = run("compare", f"{receipt}:{OTHER}", NAME, "--data-root", place, "--json")
    (found,) = json.loads(done.stdout)
    (kept,) = json.loads(run("compare", f"{receipt}:{OTHER}", f"{receipt}:{NAME}", "--json").stdout)
    assert (found["first"], found["queries"]) == (kept["first"], kept["queries"])
    assert found["second"]["checkpoint"] == NAME and found["second"] != kept["second"]


@pytest.mark.long
def test_names_give_what_their_receipts_give(place: Path, run, tmp_path: Path) -> None:
    path = tmp_path / "both.json"
    run("verify", NAME, OTHER, "--data-root", place, "--receipt", path)
    kept = run("compare", f"{path}:{NAME}", f"{path}:{OTHER}", "--json")
    done = run("compare", NAME, OTHER, "--on", "corridor", "--data-root", place, "--json")
    assert done.stdout == kept.stdout != ""


def test_scores_on_a_dataset_without_a_reader_are_told_and_the_others_compared(
    place: Path, run, tmp_path: Path, monkeypatch
) -> None:
    unread = '{dataset: veri776, rank1: "97.0", mAP: "81.9", source: a}'
    both = f"{claim(rank1='20.0')}, {unread}"
    files = {name: f"[{{local: {place / name}.pth}}]" for name in (NAME, OTHER)}
    entries = (entry(name, both, input=SMALL, sources=file) for name, file in files.items())
    monkeypatch.setenv("REIDHUB_MANIFEST", str(write_manifest(tmp_path, *entries)))

    done = run("compare", NAME, OTHER, "--data-root", place, "--json")

    (found,) = json.loads(done.stdout)
    assert (done.returncode, found["dataset"]) == (0, "corridor")
    assert (found["first"]["checkpoint"], found["second"]["checkpoint"]) == (NAME, OTHER)
    assert "veri776: reidhub has no reader for VeRi-776" in done.stderr


def test_names_without_a_data_root_are_an_error(run) -> None:
    done = run("compare", NAME, OTHER)
    assert done.returncode == 2
    assert f"error: {NAME} and {OTHER} must be measured, which needs --data-root\nhint: or name receipts" in done.stderr


def test_a_name_that_cannot_be_measured_fails(run, tmp_path: Path) -> None:
    done = run("compare", NAME, OTHER, "--on", "corridor", "--data-root", tmp_path)
    assert done.returncode == 1 and not done.stdout
    assert "error: corridor: no folder with" in done.stderr
    assert done.stderr.endswith(f"error: {NAME} and {OTHER} could not be measured\n")


def test_a_changed_condition_is_told(receipt: Path, run, tmp_path: Path) -> None:
    reranked = write(tmp_path, receipt, lambda data: data["results"][0]["conditions"].update(rerank=True))
    done = run("compare", f"{receipt}:{NAME}", f"{reranked}:{NAME}", "--json")
    assert json.loads(done.stdout)[0]["changed_conditions"] == {"rerank": [False, True]}
    assert "note: corridor: rerank is False for A and True for B" in done.stderr


@pytest.mark.parametrize("change", [{"fingerprint": "0" * 64}, {"images": {"query": 10, "gallery": 41}}])
def test_results_on_another_copy_are_not_compared(receipt: Path, run, tmp_path: Path, change: dict[str, Any]) -> None:
    other = write(tmp_path, receipt, lambda data: data["results"][0]["copy"].update(change))
    done = run("compare", f"{receipt}:{NAME}", f"{other}:{NAME}")
    assert done.returncode == 2 and "error: expected results on one copy of a dataset, got corridor" in done.stderr
    assert "hint: measure both on the same copy" in done.stderr and not done.stdout


def test_a_receipt_with_several_checkpoints_needs_the_name_of_one(receipt: Path, run) -> None:
    done = run("compare", receipt, receipt)
    assert done.returncode == 2 and f"got those of {NAME}, {OTHER}\nhint: name one of them" in done.stderr
    done = run("compare", f"{receipt}:osnet", f"{receipt}:{NAME}")
    assert done.returncode == 2 and f"has no measured result of 'osnet'\nhint: it has: {NAME}, {OTHER}" in done.stderr


def test_two_results_of_a_checkpoint_on_a_dataset_are_not_mixed_up(receipt: Path, run, tmp_path: Path) -> None:
    twice = write(tmp_path, receipt, lambda data: data["queries"].append(data["queries"][0]))
    done = run("compare", f"{twice}:{NAME}", f"{receipt}:{NAME}")
    assert done.returncode == 2 and f"expected one result of {NAME} on each dataset, got several" in done.stderr


def test_a_receipt_that_is_not_there_and_a_pattern_are_errors(run, tmp_path: Path) -> None:
    assert "there is no receipt nowhere.json\nhint: `reidhub verify" in run("compare", "nowhere.json", NAME).stderr
    assert "got the pattern 'osnet_*'" in run("compare", "osnet_*", NAME).stderr
    assert "cannot read the receipt" in run("compare", tmp_path, NAME).stderr
    assert "no checkpoint is called 'osnet_x9_9'" in run("compare", "osnet_x9_9", NAME).stderr


def test_another_dataset_and_a_classification_are_not_compared(receipt: Path, run, tmp_path: Path) -> None:
    other = write(
        tmp_path, receipt, lambda data: [part.update(dataset="hall") for part in (*data["results"], *data["queries"])]
    )
    done = run("compare", f"{receipt}:{NAME}", f"{other}:{NAME}")
    assert done.returncode == 2 and "expected two retrievals on one dataset, got corridor and hall" in done.stderr
    classified = write(
        tmp_path, receipt, lambda d: [q.update(average_precision="", inverse_negative_penalty="") for q in d["queries"]]
    )
    done = run("compare", f"{receipt}:{NAME}", f"{classified}:{NAME}")
    assert done.returncode == 2 and "got corridor and no retrieval\nhint: " in done.stderr
    assert "classifications cannot be compared" in done.stderr


def write(folder: Path, receipt: Path, change: Callable[[Any], object]) -> Path:
    """Write a copy of a receipt with a change."""
    data = json.loads(receipt.read_text())
    change(data)
    path = folder / "changed.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("queries"), "older version of reidhub.*\nhint: run `reidhub verify --receipt` again"),
        (lambda data: data.pop("format"), "is not a receipt"),
        (lambda data: data.update(format=2), "a receipt of format 2, expected 1"),
        (lambda data: data.update(queries={}), "damaged receipt: expected 'queries' of type list, got dict"),
        (lambda data: data["results"].pop(), f"it has queries, but no result, of {OTHER} on corridor"),
        (lambda data: data["results"][0].update(copy=None), "expected 'copy' of type dict, got NoneType"),
        (lambda data: data["results"][0]["copy"]["images"].update(query="5"), "'query' of type int, got str"),
        (lambda data: data["queries"][0].update(first_match_rank=[1, 2]), "of type str, got list"),
        (lambda data: data["queries"][0].update(first_match_rank="1 x"), "invalid literal for int"),
        (lambda data: data["queries"][0].update(first_match_rank="1 -2"), "a number of 'first_match_rank' is not"),
        (lambda data: data["queries"][0].update(average_precision="0.5 inf"), "is not between 0 and 1"),
        (lambda data: data["queries"][0].update(average_precision="0.5"), "do not belong to the same queries"),
        (lambda data: data["queries"][0].update(inverse_negative_penalty=""), "do not belong to the same queries"),
    ],
)
def test_old_and_damaged_receipts_are_refused_in_words(
    receipt: Path, tmp_path: Path, change: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read_receipt(write(tmp_path, receipt, change))


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"{" * 100_000, b"[" * 200_000, b'{"a": 1}'])
def test_other_files_are_not_receipts(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UsageError, match="file is not a receipt\nhint: `reidhub verify --receipt FILE` writes"):
        read_receipt(tmp_path / "file")
