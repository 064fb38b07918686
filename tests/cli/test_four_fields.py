"""Every command and function with a checkpoint whose manifest entry has only its four required fields."""

import json

import numpy
import pytest
import torch
from PIL import Image
from support import verify_runs
from support.verify_runs import Done, run_here

import reidhub
from reidhub.models import build

NAME = "osnet_x0_25.mine"
ENTRY = f"""\
checkpoints:
  - name: {NAME}
    model: osnet_x0_25
    file: {{original: mine.pth}}
    source: {{local: mine.pth}}
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run ``reidhub`` with a manifest that has only this checkpoint beside those of the zoo; it must succeed."""
    verify_runs.write_weights(tmp_path, NAME, seed=1).rename(tmp_path / "mine.pth")
    (tmp_path / "own.yaml").write_text(ENTRY)
    monkeypatch.setenv("REIDHUB_MANIFEST", str(tmp_path / "own.yaml"))
    monkeypatch.setenv("REIDHUB_HOME", str(tmp_path / "home"))

    def run_well(*arguments: str) -> Done:
        done = run_here(monkeypatch, capsys, *arguments)
        assert done.returncode == 0, done.stderr
        return done

    return run_well


def test_commands_that_describe_it_say_what_is_not_known(run):
    (listed,) = json.loads(run("list", NAME, "--json").stdout)
    assert listed["trained_on"] == listed["scores"] == []
    assert (listed["licence"], listed["num_classes"], listed["sha256"]) == ("not stated", None, None)
    assert listed["input"] == {"height": 256, "width": 128}
    assert json.loads(run("show", NAME, "--json").stdout) == [listed]
    assert "none published" in run("list", NAME).stdout
    shown = run("show", NAME).stdout
    for line in ("trained on  not known", "licence     not stated", "reidhub loads whatever the file holds"):
        assert line in shown


def test_commands_that_fetch_its_file_fetch_it(run, tmp_path):
    content = (tmp_path / "mine.pth").read_bytes()
    assert "this machine" in run("links", NAME).stdout
    run("download", NAME)
    assert NAME in run("cache", "list").stdout
    assert f"size: {len(content)}" in run("pin", NAME).stdout
    run("mirror", str(tmp_path / "mirror"), NAME)
    assert (tmp_path / "mirror" / f"{NAME}.pth").read_bytes() == content
    (found,) = json.loads(run("doctor", str(tmp_path / "mine.pth"), "--json").stdout)
    assert (found["architecture"], found["num_classes"]) == ("osnet_x0_25", 5)


@pytest.mark.long
def test_verify_measures_it_on_a_dataset_that_it_names_and_checks_its_file_and_weights(run, tmp_path):
    root = verify_runs.write_images(tmp_path / "data")
    person = min((root / "corridor" / "query").iterdir()).name[:4]
    for path in root.rglob("*.jpg"):
        if not path.name.startswith(person):
            path.unlink()  # one person is enough here, and saves time
    (weights,) = json.loads(run("verify", NAME, "--level", "weights", "--json").stdout)
    assert weights["params_m"]["reported"] is None and 0.20 < weights["params_m"]["measured"] < 0.21
    run("verify", NAME, "--level", "files")
    page = tmp_path / "report"
    where = ["--on", "corridor", "--data-root", str(root), "--allow-partial", "--html", str(page)]
    done = run("verify", NAME, *where, "--precision", "exact", "--json")
    (result,) = json.loads(done.stdout)
    assert (result["verdict"], result["conditions"]["distance"]) == ("not comparable", "euclidean")
    assert "no figure is published" in result["reason"]
    assert "not known" in (page / "index.html").read_text()


def test_load_and_embedder_prepare_images_as_its_architecture_says(run, tmp_path):
    assert reidhub.load(NAME).num_classes == 5
    image = Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (90, 40, 3), dtype=numpy.uint8))
    ours = reidhub.embedder(NAME, device="cpu", precision="exact")([image])
    published = reidhub.transform("osnet_x0_25.msmt17")(image)
    with torch.inference_mode():
        direct = reidhub.load(NAME)(published[None])
    torch.testing.assert_close(torch.as_tensor(ours), direct, rtol=1e-3, atol=1e-3)


def test_a_file_that_was_trained_again_is_loaded_anew(run, tmp_path):
    before = reidhub.load(NAME).state_dict()
    torch.manual_seed(2)
    torch.save(build("osnet_x0_25", 7).state_dict(), tmp_path / "mine.pth")
    after = reidhub.load(NAME)
    assert after.num_classes == 7
    assert not torch.equal(after.state_dict()["conv1.conv.weight"], before["conv1.conv.weight"])
    (tmp_path / "mine.pth").unlink()
    assert reidhub.load(NAME).num_classes == 7, "the cached copy stays in use where the file is gone"
