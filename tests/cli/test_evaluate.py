"""``reidhub evaluate`` and `reidhub.evaluate`: users' own files and images, in every layout, against other code."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from support import tiny_model
from support.verify_runs import INPUT, NAME, counted, entry, run_here, write_images, write_manifest, write_weights

import reidhub
from reidhub.cli.commands.evaluate import _print
from reidhub.datasets.market1501 import read_layout
from reidhub.errors import DatasetError, EvaluationError, UsageError
from reidhub.inference import images as decoding
from reidhub.models import ARCHITECTURES
from reidhub.verification.own_data import RetrievalScores

PATTERN = r"(?P<pid>-?\d+)_c(?P<camid>\d+)s"
EXACT = ("--precision", "exact")
METRICS = ("rank1", "rank5", "rank10", "mAP", "mINP")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A small copy of the demo's world in Market-1501's layout."""
    return write_images(tmp_path_factory.mktemp("photos")) / "corridor"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights"), NAME, 3)


@pytest.fixture(autouse=True)
def _own_cache_and_architecture(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny_model.ENTRY)
    manifest = write_manifest(tmp_path, entry("tiny.default", ""))
    described = "{name: tiny, paper: none, starts_from: scratch, default: tiny.default, input: %s}"
    manifest.write_text(f"architectures: [{described % INPUT}]\n{manifest.read_text()}")
    monkeypatch.setenv("REIDHUB_MANIFEST", str(manifest))
    monkeypatch.setenv("REIDHUB_HOME", str(tmp_path / "cache"))


def evaluate(model: Any, data: Path | None = None, **options: Any) -> list[RetrievalScores]:
    return reidhub.evaluate(model, data, device="cpu", precision="exact", **options)


def scores(found: RetrievalScores) -> list[float]:
    return [getattr(found, metric) for metric in METRICS]


def test_scores_are_those_of_code_that_shares_nothing_with_the_package(photos, weights, monkeypatch, capsys):
    done = run_here(
        monkeypatch, capsys, "evaluate", str(weights), "--data", str(photos), "--json", "--precision", "exact"
    )

    tally = counted(weights, photos.parent)
    [found] = json.loads(done.stdout)
    assert done.returncode == 0
    assert (found["checkpoint"], found["architecture"], found["distance"]) == (str(weights), "tiny", "euclidean")
    assert found["queries"] == tally.queries
    assert {metric: found[metric] for metric in METRICS} == pytest.approx(tally.percentages(), abs=1e-4)
    assert "has the architecture tiny, 5 classes" in done.stderr


def test_every_layout_of_the_same_images_gives_the_same_scores(photos, weights, tmp_path):
    [wanted] = evaluate(weights, photos)
    renamed = shutil.copytree(photos, tmp_path / "renamed")
    (renamed / "bounding_box_test").rename(renamed / "gallery")
    table = tmp_path / "images.csv"
    data = read_layout(photos, name="own", title="own")
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["note", "split", "camid", "path", "pid"])
        for split, records in {"query": data.query, "gallery": data.gallery}.items():
            rows.writerows(["", split, record.camid, record.path, record.pid] for record in records)

    [in_renamed] = evaluate(str(weights), renamed)
    [in_table] = evaluate(weights, table, layout="csv")
    [by_pattern] = evaluate(weights, query=photos / "query", gallery=photos / "bounding_box_test", pattern=PATTERN)

    assert scores(in_renamed) == scores(in_table) == scores(by_pattern) == scores(wanted)
    assert in_table.queries == wanted.queries and in_table.dataset == "images.csv"


def test_one_folder_for_each_person_scores_every_image_against_all_others(photos, weights, tmp_path):
    for image in sorted((photos / "query").glob("*.jpg")):
        folder = tmp_path / "people" / image.name[:4]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder)

    [found] = evaluate(weights, tmp_path / "people", layout="identities")

    paths = sorted((tmp_path / "people").rglob("*.jpg"))
    embeddings = reidhub.embedder(weights, precision="exact")(paths)
    ranked = [rank_others(embeddings, paths, place) for place in range(len(paths))]
    ranked = [ranks for ranks in ranked if ranks]
    assert found.leave_one_out and found.cameras == "ignore"
    assert found.queries == len(ranked) and found.gallery == len(paths)
    assert found.rank1 == pytest.approx(100 * fmean(ranks[0] == 1 for ranks in ranked))
    assert found.mAP == pytest.approx(100 * fmean(average_precision(ranks) for ranks in ranked), abs=1e-4)
    assert found.mINP == pytest.approx(100 * fmean(len(ranks) / ranks[-1] for ranks in ranked), abs=1e-4)


def rank_others(embeddings: torch.Tensor, paths: list[Path], place: int) -> list[int]:
    """Return the ranks of the images of the same person, when all other images are sorted by their distance."""
    others = [other for other in range(len(paths)) if other != place]
    others.sort(key=lambda other: float(torch.dist(embeddings[place].double(), embeddings[other].double())))
    person = paths[place].parent
    return [rank for rank, other in enumerate(others, start=1) if paths[other].parent == person]


def average_precision(ranks: list[int]) -> float:
    return fmean(number / rank for number, rank in enumerate(ranks, start=1))


def test_several_checkpoints_and_distances_decode_each_image_once(photos, weights, tmp_path, monkeypatch):
    other = write_weights(tmp_path, "tiny.other", 4)
    read: Counter[str] = Counter()
    original = decoding.read_file

    def count(path: Path) -> bytes:
        read[path.name] += 1
        return original(path)

    monkeypatch.setattr(decoding, "read_file", count)

    found = evaluate([weights, other], photos, distance="both")

    assert [(one.checkpoint, one.distance) for one in found] == [
        (str(file), distance) for file in (weights, other) for distance in ("euclidean", "cosine")
    ]
    assert set(read.values()) == {1}
    assert scores(found[0]) == scores(evaluate(weights, photos)[0])
    assert scores(found[1]) == scores(evaluate(weights, photos, distance="cosine")[0]) != scores(found[0])


def test_images_are_resized_with_the_filter_of_the_architecture(photos, weights, tmp_path, monkeypatch):
    """Images that have the size of the input already are not resized."""
    manifest = tmp_path / "bicubic.yaml"
    manifest.write_text((tmp_path / "zoo.yaml").read_text().replace("bilinear", "bicubic"))
    for path in photos.glob("*/*.jpg"):
        resized = tmp_path / "resized" / path.parent.name / f"{path.stem}.png"
        resized.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((128, 256), Image.Resampling.BICUBIC).save(resized)
    wanted = evaluate(weights, tmp_path / "resized", thresholds=True)
    bilinear = evaluate(weights, photos, thresholds=True)

    monkeypatch.setenv("REIDHUB_MANIFEST", str(manifest))
    [found] = evaluate(weights, photos, thresholds=True)

    assert found.thresholds == wanted[0].thresholds != bilinear[0].thresholds
    assert scores(found) == scores(wanted[0])


def test_thresholds_decide_pairs_as_often_wrong_as_they_say(photos, weights):
    [found] = evaluate(weights, photos, thresholds=True, cameras="ignore")

    data = read_layout(photos, name="own", title="own")
    embed = reidhub.embedder(weights, precision="exact")
    query, gallery = embed([r.path for r in data.query]).double(), embed([r.path for r in data.gallery]).double()
    distances = torch.cdist(query, gallery, compute_mode="donot_use_mm_for_euclid_dist")
    same = torch.tensor([[q.pid == g.pid for g in data.gallery] for q in data.query])
    point = found.thresholds.equal_error
    accepted = distances <= point.distance * (1 + 1e-6)
    assert found.thresholds.same_pairs == int(same.sum())
    assert point.far == pytest.approx(float(accepted[~same].double().mean()), abs=2e-3)
    assert point.frr == pytest.approx(float((~accepted[same]).double().mean()), abs=2e-3)


def test_tables_of_every_form_have_the_scores_and_the_thresholds(photos, weights, capsys):
    wanted = evaluate(weights, photos, thresholds=True)

    for form in ("table", "csv", "markdown", "latex"):
        _print(wanted, SimpleNamespace(form=form, thresholds=True))
        shown = capsys.readouterr().out
        assert f"{wanted[0].mAP:.{10 if form == 'csv' else 3}f}"[:-1] in shown and "FAR 1 " in shown
        assert "too few pairs" in shown  # 420 pairs cannot show a rate of 0.1 %


def test_own_file_is_verified_without_a_verdict_and_a_known_one_with_its_name(photos, weights, monkeypatch, capsys):
    root = str(photos.parent)
    done = run_here(
        monkeypatch, capsys, "verify", str(weights), "--on", "corridor", "--data-root", root, *EXACT, "--json"
    )

    [found] = json.loads(done.stdout)
    assert (done.returncode, found["checkpoint"], found["verdict"]) == (0, str(weights), "not comparable")
    without = run_here(monkeypatch, capsys, "verify", str(weights), "--data-root", root)
    assert without.returncode == 2 and "such as --on market1501" in without.stderr


def test_one_call_verifies_as_the_command_does(photos, weights, monkeypatch, capsys):
    monkeypatch.setitem(reidhub.datasets.DATASETS, "corridor", "support.verify_runs:read")

    report = reidhub.verify(weights, photos.parent, datasets=["corridor"], device="cpu", precision="exact")

    [result] = report.results
    assert result.copy.name == "corridor"
    assert {f.metric: f.measured for f in result.figures}["mAP"] == evaluate(weights, photos)[0].mAP


def test_receipt_has_the_results_so_that_they_can_be_compared(photos, weights, tmp_path, monkeypatch, capsys):
    receipt = tmp_path / "receipt.json"
    done = run_here(
        *(monkeypatch, capsys, "evaluate", str(weights), "--data", str(photos)),
        *("--receipt", str(receipt), "--distance", "both", "--cameras", "ignore", *EXACT),
    )

    results = json.loads(receipt.read_text())["results"]
    assert done.returncode == 0 and "cameras ignored" in done.stderr
    assert [result["conditions"]["distance"] for result in results] == ["euclidean", "cosine"]
    assert all(one["checkpoint"] == str(weights) and one["counts"]["queries"] > 0 for one in results)


def test_nothing_of_a_finished_run_stays(photos, weights, tmp_path):
    evaluate(weights, photos)

    assert not list((tmp_path / "cache").rglob("*.rows"))


def test_query_without_any_match_is_an_error_with_exit_code_1(photos, weights, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(photos, tmp_path / "alone")
    for image in (folder / "bounding_box_test").glob("*.jpg"):
        if image.name[0] != "-":
            image.rename(image.with_name("9" + image.name))

    with pytest.raises(EvaluationError, match=r"none of .* queries has a gallery image of its pid"):
        evaluate(weights, folder)
    done = run_here(monkeypatch, capsys, "evaluate", str(weights), "--data", str(folder), *EXACT)
    assert done.returncode == 1 and "none of" in done.stderr


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, UsageError, "needs data"),
        ({"data": Path("nowhere")}, DatasetError, "nowhere"),
        ({"data": Path(), "distance": "manhattan"}, UsageError, "a distance is euclidean, cosine or both"),
        ({"data": Path(), "architecture": "vit"}, UsageError, "no architecture is called 'vit'"),
        ({"data": Path(), "layout": "identities", "rerank": True}, UsageError, "each image is a query"),
    ],
)
def test_wrong_argument_is_an_error_in_words(photos, weights, monkeypatch, options, error, message):
    monkeypatch.chdir(photos)

    with pytest.raises(error, match=message):
        evaluate(weights, **options)


def test_pattern_and_layout_exclude_each_other(photos, weights, monkeypatch, capsys):
    done = run_here(monkeypatch, capsys, "evaluate", str(weights), "--layout", "csv", "--pattern", PATTERN)

    assert done.returncode == 2 and "exclude each other" in done.stderr


def test_folders_without_a_pattern_are_told_that_one_is_needed(weights, monkeypatch, capsys):
    done = run_here(monkeypatch, capsys, "evaluate", str(weights), "--query", ".", "--gallery", ".")

    assert done.returncode == 2 and "need --pattern" in done.stderr
