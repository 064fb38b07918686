"""Every program in ``examples/`` runs as its first lines say, and does what it promises."""

import re
from pathlib import Path

import pytest
import torch
from support.documentation import MARKET, Desk
from support.paths import ROOT

from reidhub.demo import DATA, FILE_NAME, world
from reidhub.models import build
from tools.demo_checkpoint import reference_evaluation

EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def run(desk: Desk, zoo: Path, name: str, *arguments: str | Path, **environment: str) -> str:
    command = ["python", zoo / "checkout" / "examples" / name, *arguments]
    done = desk.run(command, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ranking_puts_an_image_first_that_is_the_query_itself(desk, zoo):
    (desk.folder / "gallery" / "same.jpg").write_bytes((desk.folder / "query.jpg").read_bytes())

    lines = run(desk, zoo, "rank_gallery.py", "query.jpg", "gallery", "--checkpoint", "osnet_x0_25.market1501")

    similarities = [float(line.split()[0]) for line in lines.splitlines()]
    assert lines.splitlines()[0] == f"1.000  {Path('gallery', 'same.jpg')}"
    assert similarities == sorted(similarities, reverse=True) and len(similarities) == 10


def test_torch_hub_loads_a_model_from_a_copy_of_the_repository(desk, zoo):
    out = run(desk, zoo, "load_with_torch_hub.py", zoo / "checkout", "osnet_x0_25", "market1501")
    assert out == "embeddings (2, 512)\n"


def test_scores_of_a_checkpoint_are_measured(desk, zoo):
    arguments = ["osnet_x0_25.market1501", "../home/reid", "--allow-partial"]
    out = run(desk, zoo, "verify_checkpoint.py", *arguments)

    assert "osnet_x0_25.market1501 on market1501: not comparable" in out
    measured = {line.split(":")[0].strip(): float(line.split()[-1]) for line in out.splitlines()[1:]}
    assert {"rank1", "mAP"} <= measured.keys() and all(0 < value <= 100 for value in measured.values())


def score_demo_weights(data: Path) -> float:
    """The mAP of the weights that the small zoo has for ``osnet_x0_25``, by code that shares nothing with reidhub."""
    state = torch.load(DATA / FILE_NAME, weights_only=True)
    model = build("osnet_x0_25", len(state["classifier.weight"]))
    model.load_state_dict(state)
    folders = (data / world.FOLDERS[split] for split in ("query", "gallery"))
    return reference_evaluation.score(model, *folders).percentages()["mAP"]


def test_the_fine_tuning_example_is_short() -> None:
    assert len((ROOT / "examples" / "finetune.py").read_text(encoding="utf-8").splitlines()) <= 120


def test_a_fine_tuned_checkpoint_gets_a_manifest_and_ranks_a_gallery(desk, zoo):
    data = desk.home / "reid" / MARKET
    training = ["--size", "256", "128", "--steps", "3", "--classifier-steps", "0", "--batch", "8"]
    out = run(desk, zoo, "finetune.py", data, "--checkpoint", "osnet_x0_25.imagenet", *training)
    before, *steps, after = out.splitlines()
    losses = [float(line.split()[-1]) for line in steps]
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert re.fullmatch(r"mAP before \d+\.\d %", before) and re.fullmatch(r"mAP after \d+\.\d %", after)
    assert float(before.split()[2]) == pytest.approx(score_demo_weights(data), abs=0.06)
    assert torch.load(desk.folder / "finetuned.pth", weights_only=True)["classifier.weight"].shape[0] == 2

    printed = desk.run(["reidhub", "doctor", "--manifest", "finetuned.pth"])
    assert printed.returncode == 0, printed.stderr
    own = desk.folder / "mine.yaml"
    own.write_text(printed.stdout)
    ranked = ["query.jpg", "gallery", "--checkpoint", "osnet_x0_25.finetuned", "--top", "1"]
    out = run(desk, zoo, "rank_gallery.py", *ranked, REIDHUB_MANIFEST=str(own))
    assert len(out.splitlines()) == 1


def test_fine_tuning_starts_from_a_file_and_trains_its_classifier_first(desk, zoo):
    data = desk.home / "reid" / MARKET
    training = ["--steps", "4", "--classifier-steps", "4", "--batch", "8"]
    out = run(desk, zoo, "finetune.py", data, "--checkpoint", "model.pth", *training)

    before, *steps, after = out.splitlines()
    assert float(steps[-1].split()[-1]) < float(steps[0].split()[-1])
    assert before.replace("before", "after") == after  # embeddings do not need the classifier
    trained = torch.load(desk.folder / "finetuned.pth", weights_only=True)
    given = torch.load(desk.folder / "model.pth", weights_only=True)["state_dict"]
    changed = {name for name, tensor in given.items() if not torch.equal(tensor, trained[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_fine_tuning_starts_from_random_weights(desk, zoo):
    training = ["--random", "osnet_x0_25", "--steps", "2", "--classifier-steps", "0", "--batch", "8"]
    before, *steps, after = run(desk, zoo, "finetune.py", desk.home / "reid" / MARKET, *training).splitlines()
    assert len(steps) == 2 and before.startswith("mAP before") and after.startswith("mAP after")
    assert float(before.split()[2]) < score_demo_weights(desk.home / "reid" / MARKET)


def test_every_example_is_run_by_a_test_and_says_how_it_is_started():
    text = Path(__file__).read_text(encoding="utf-8")
    for name in EXAMPLES:
        assert f'"{name}"' in text, f"no test runs examples/{name}"
        source = (ROOT / "examples" / name).read_text(encoding="utf-8")
        assert re.match(rf'"""[A-Z].*?\n\n    python examples/{name} ', source, re.S), name
