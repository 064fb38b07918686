"""Checks of files: classifiers with the outputs of torchvision's, real checkpoints, reported costs, a GPU."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score
from support.verify_runs import (
    NAME,
    SMALL,
    Done,
    claim,
    counted,
    entry,
    make_model,
    run_here,
    write_images,
    write_manifest,
    write_weights,
)
from torchvision import transforms

from reidhub.datasets import DATASETS, ClassificationSet, Counts
from reidhub.datasets.imagenet import read_layout

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES, EACH = 6, 4
CLASSIFIER = "tiny.classifier"
FOLDER = "tiny, with a folder for each class"


def read(data_root: Path, *, allow_partial: bool = False) -> ClassificationSet:
    counts = Counts(CLASSES * EACH, CLASSES)
    return read_layout(data_root / "tiny", name="tiny", title="Tiny", counts=counts, allow_partial=allow_partial)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a re-ID world and six classes of noise in different shapes, and a classifier of these."""
    folder = write_images(tmp_path_factory.mktemp("places"))
    rng = np.random.default_rng(5)
    for label in range(CLASSES):
        classes = folder / "tiny" / f"n0000000{label}"
        classes.mkdir(parents=True)
        for number in range(EACH):
            blocks = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            size = (200 + 50 * number, 300 - 20 * label)
            Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).save(classes / f"{number}.JPEG", quality=95)
    write_weights(folder, CLASSIFIER, seed=11, classes=CLASSES)
    write_weights(folder, NAME, seed=3)
    return folder


@pytest.fixture
def verify(place: Path, monkeypatch, capsys) -> Callable[..., Done]:
    """Runs ``reidhub verify`` with these manifest entries."""
    monkeypatch.setitem(DATASETS, "tiny", f"{__name__}:read")

    def run(entries: list[str], *arguments: str) -> Done:
        monkeypatch.setenv("REIDHUB_MANIFEST", str(write_manifest(place, *entries)))
        return run_here(monkeypatch, capsys, "verify", "--data-root", str(place), *arguments)

    return run


def classifier(score: str = "", **fields: str) -> str:
    return entry(CLASSIFIER, score, num_classes=CLASSES, trained_on="[tiny]", **fields)


def hits_by_torchvision(place: Path) -> tuple[int, int]:
    """Top-1 and top-5 hits by torchvision's own transforms, one image at a time."""
    recipe = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    model = make_model("tiny", CLASSES).eval()
    model.load_state_dict(torch.load(place / f"{CLASSIFIER}.pth", weights_only=True))
    top1 = top5 = 0
    for label, folder in enumerate(sorted((place / "tiny").iterdir())):
        for path in sorted(folder.iterdir()):
            with Image.open(path) as image, torch.no_grad():
                best = model.classify(model(recipe(image.convert("RGB"))[None])).topk(5).indices[0].tolist()
            top1, top5 = top1 + (best[0] == label), top5 + (label in best)
    return top1, top5


def test_top1_and_top5_are_those_of_torchvisions_transforms(place: Path, verify) -> None:
    top1, top5 = hits_by_torchvision(place)
    assert 0 < top1 < top5 < CLASSES * EACH
    printed = [f"{100 * hits / (CLASSES * EACH):.1f}" for hits in (top1, top5)]
    score = f'{{dataset: tiny, top1: "{printed[0]}", top5: "{printed[1]}", source: the tests}}'
    done = verify([classifier(score)], CLASSIFIER, "--json")
    (result,) = json.loads(done.stdout)
    assert (done.returncode, result["verdict"]) == (0, "reproduced")
    assert [(f["metric"], f["hits"]) for f in result["figures"]] == [("top1", top1), ("top5", top5)]
    assert result["counts"]["mAP"] is None and result["conditions"]["distance"] is None
    assert "centre crop 224x224" in result["conditions"]["pixels"]


def test_a_classifier_of_other_classes_is_not_run(verify) -> None:
    done = verify([entry(NAME, "")], NAME, "--on", "tiny")
    assert done.returncode == 1 and "knows the classes of another dataset than tiny" in done.stderr


def test_a_classifier_can_be_scored_as_a_reid_model_beside_its_classes(verify) -> None:
    done = verify([classifier(input=SMALL)], CLASSIFIER, "--on", "corridor", "--on", "tiny", "--json")
    assert [(r["dataset"], r["verdict"]) for r in json.loads(done.stdout)] == [
        ("corridor", "not comparable"),
        ("tiny", "not comparable"),
    ]


def real_entries(weights: Path, **fields: str) -> tuple[list[str], list[str]]:
    """Names and manifest entries of the real checkpoint files."""
    files = sorted(weights.glob("*.pth"))
    names = [path.stem.replace("x0_25_", "x0_25.real_") for path in files]
    entries = [
        entry(name, claim(rank1="50.0"), num_classes="null", sources=f'[{{local: "{path.as_uri()}"}}]', **fields)
        for name, path in zip(names, files, strict=True)
    ]
    return names, entries


@pytest.mark.long  # `test_one_pass_gives_each_model_what_it_gets_alone` shows it with small models
def test_real_checkpoints_get_in_one_pass_what_each_gets_alone(verify, real_weights: Path, tmp_path: Path) -> None:
    names, entries = real_entries(real_weights, input=SMALL)
    options = ("--json", "--keep-embeddings")
    together = json.loads(verify(entries, *names, *options, str(tmp_path / "together")).stdout)
    alone = [json.loads(verify(entries, name, *options, str(tmp_path / "alone")).stdout)[0] for name in names]
    assert len(together) > 2 and together == alone
    for path in (tmp_path / "together").iterdir():
        with np.load(path) as one, np.load(tmp_path / "alone" / path.name) as other:
            assert np.array_equal(one["query"], other["query"]) and np.array_equal(one["gallery"], other["gallery"])


def test_a_real_checkpoint_scores_what_the_referee_counts(place: Path, verify, real_weights: Path) -> None:
    (path,) = real_weights.glob("*market1501.pth")
    _, entries = real_entries(real_weights)
    (result,) = json.loads(verify(entries, "osnet_x0_25.real_market1501", "--json").stdout)
    state = torch.load(path, weights_only=True)
    assert result["file"]["size"] == path.stat().st_size
    tally = counted(path, place, classes=len(state["classifier.weight"]), architecture="osnet_x0_25")
    assert [result["counts"]["hits"][rank - 1] for rank in tally.hits] == list(tally.hits.values())
    assert result["counts"]["mAP"] == pytest.approx(tally.precision / tally.queries, abs=1e-5)


def test_average_precisions_are_those_of_scikit_learn(verify, tmp_path: Path) -> None:
    done = verify([entry(NAME, claim(rank1="20.0"), input=SMALL)], NAME, "--keep-embeddings", str(tmp_path), "--json")
    (result,) = json.loads(done.stdout)
    with np.load(tmp_path / f"{NAME}.corridor.npz") as kept:
        precisions = []
        for row, pid, camid in zip(kept["query"], kept["query_pids"], kept["query_camids"], strict=True):
            seen = (kept["gallery_pids"] != pid) | (kept["gallery_camids"] != camid)
            distances = ((kept["gallery"][seen].astype(float) - row) ** 2).sum(1)
            precisions.append(average_precision_score(kept["gallery_pids"][seen] == pid, -distances))
    assert result["counts"]["mAP"] == pytest.approx(np.mean(precisions), abs=1e-9)


def test_weights_cost_what_is_reported_or_deviate(place: Path, verify) -> None:
    name = write_weights(place, "osnet_x0_25.corridor", seed=3).stem
    fair = entry(name, claim(rank1="20.0"), params_m='"0.2"', gflops='"0.08"')
    done = verify([fair], name, "--level", "weights", "--json")
    (inspection,) = json.loads(done.stdout)
    assert (done.returncode, inspection["state"]) == (0, "as reported")
    assert inspection["params_m"] == {"reported": "0.2", "measured": 0.203568}
    unfair = verify([fair.replace('"0.08"', '"0.09"')], name, "--level", "weights")
    assert unfair.returncode == 1 and "deviates" in unfair.stdout
    assert "loads" in verify([entry(name, "")], name, "--level", "weights").stdout


def test_what_is_about_scores_is_refused_where_none_are_measured(verify) -> None:
    done = verify([entry(NAME, "")], NAME, "--level", "files", "--html", "h", "--rerank", "--precision", "tf32")
    assert done.returncode == 2
    assert "--level files measures no scores: --html, --precision, --rerank have no meaning there" in done.stderr


def test_files_are_hashed_and_one_that_was_changed_is_not_intact(verify, reidhub_home: Path) -> None:
    done = verify([entry(NAME, "")], NAME, "--level", "files")
    assert done.returncode == 0 and "intact" in done.stdout
    (file,) = reidhub_home.glob("files/*.pth")
    state = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # the cache, which looks at size and time, is fooled
    done = verify([entry(NAME, "")], NAME, "--level", "files")
    assert done.returncode == 1 and "expected sha256" in done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_counts_the_same_hits_as_the_cpu(verify, tmp_path: Path) -> None:
    one = [entry(NAME, claim(rank1="20.0"))]
    results = []
    for device in ("cpu", "cuda"):
        done = verify(one, NAME, "--device", device, "--keep-embeddings", str(tmp_path / device), "--json")
        results.append(json.loads(done.stdout)[0])
    assert results[0]["counts"]["hits"] == results[1]["counts"]["hits"]
    cpu, gpu = (np.load(tmp_path / device / f"{NAME}.corridor.npz") for device in ("cpu", "cuda"))
    difference = np.linalg.norm(cpu["gallery"] - gpu["gallery"], axis=1) / np.linalg.norm(cpu["gallery"], axis=1)
    assert difference.max() < 1e-3
