"""``reidhub doctor --manifest`` prints entries that load the files that trainers save."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from support.hostile_files import saved
from support.local_zoos import state_of
from support.verify_runs import run_here

import reidhub
from reidhub.diagnosis import doctor
from reidhub.diagnosis.manifest_entry import write_manifest
from reidhub.files.digest import Digest
from reidhub.zoo.manifest import zoo

STATE = state_of("osnet_x0_25", 5)


def named(prefix: str, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**{prefix + name: tensor for name, tensor in STATE.items()}, **more}


EXTRA = {"loss.centers": torch.ones(3, 2), "step": torch.tensor(3)}
OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
FILES = {
    "plain": named(""),
    "osnet_x0_25_Best (1)": {"state_dict": named(""), "epoch": 3},
    "parallel": {"state_dict": named("module."), "optimizer": OPTIMIZER},
    "spare": named("model.", **EXTRA),
    "lightning": {"state_dict": named("model.", **EXTRA), "pytorch-lightning_version": "2.5", "callbacks": {}},
    "average": {"model_ema": {name: t + 1 for name, t in STATE.items()}, "model": named(""), "optimizer": OPTIMIZER},
    "usual": {"model": {name: t + 1 for name, t in STATE.items()}, "state_dict": named("module._orig_mod.")},
    "naïve ü": named("", **{f"aux{i}.w: [\x1b": torch.ones(1) for i in range(20)}),
}
NAMES = ["plain", "best_1", "parallel", "spare", "lightning", "average", "usual", "na_ve"]


def reidhub_in(folder: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "reidhub", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> tuple[Path, str]:
    """The folder with the files, and the manifest that the command prints for them."""
    folder = tmp_path_factory.mktemp("trained")
    for name, content in FILES.items():
        (folder / f"{name}.pth").write_bytes(saved(content))
    done = reidhub_in(folder, "doctor", "--manifest", *(f"{name}.pth" for name in FILES))
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


def test_printed_manifest_loads_the_files_that_trainers_save(printed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(printed[1])
    plain = printed[0] / "plain.pth"

    shown = run_here(monkeypatch, capsys, "--manifest", "own.yaml", "show", "osnet_x0_25.plain")
    assert plain.as_uri() in shown.stdout and Digest.of_file(plain).hex in shown.stdout
    checks = ["verify", "osnet_x0_25.lightning", "--level", "weights"]
    checked = run_here(monkeypatch, capsys, "--manifest", "own.yaml", *checks)
    assert checked.returncode == 0 and "osnet_x0_25.lightning" in checked.stdout, checked.stderr
    monkeypatch.setenv("REIDHUB_MANIFEST", str(tmp_path / "own.yaml"))
    for tag in NAMES:
        model = reidhub.load(f"osnet_x0_25.{tag}")
        assert all(torch.equal(tensor, STATE[key]) for key, tensor in model.state_dict().items())


def test_an_entry_has_only_what_is_known_and_a_layout_only_where_it_is_needed(printed):
    entries = {entry["name"].partition(".")[2]: entry for entry in yaml.safe_load(printed[1])["checkpoints"]}
    assert list(entries["plain"]) == ["name", "model", "num_classes", "file", "source"]
    assert entries["plain"]["file"].keys() == {"original", "sha256", "size", "evidence"}
    layouts = {tag: entry["file"].get("layout") for tag, entry in entries.items()}
    assert (layouts["best_1"], layouts["parallel"]) == (None, None)
    assert layouts["lightning"] == {"strip_prefix": "model.", "skip": ["loss.", "step"]}
    assert (layouts["average"], layouts["usual"]) == ({"root": "model"}, {"root": "state_dict"})
    assert "original" not in entries["best_1"]["file"], "it has a space and brackets"


def test_a_comment_names_the_other_tensors_of_the_file(printed):
    lines = printed[1].splitlines()
    comment = "  # The file holds tensors under 'model_ema' too; write another root below to read them."
    assert lines[lines.index(comment) + 1] == "  - name: osnet_x0_25.average"


def test_training_set_is_a_guess_from_the_number_of_classes_and_says_so(tmp_path):
    path = tmp_path / "market.pth"
    path.write_bytes(saved(state_of("osnet_x0_25", 751)))
    text = write_manifest([doctor(path)])
    assert yaml.safe_load(text)["checkpoints"][0]["trained_on"] == ["market1501"]
    assert "# trained_on is a guess: market1501 has 751 classes too." in text
    path.write_bytes(saved(state_of("osnet_x0_25", 4101)))
    (entry,) = yaml.safe_load(write_manifest([doctor(path)]))["checkpoints"]
    assert (entry["trained_on"], entry["combineall"]) == (["msmt17"], True)


def test_names_are_different_from_each_other_and_from_those_of_the_zoo(tmp_path):
    paths = [tmp_path / folder / "osnet_x0_25_msmt17.pth" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(saved(STATE))
    (tmp_path / "osnet_x0_25.pth").write_bytes(saved(STATE))
    text = write_manifest([doctor(path) for path in [*paths, tmp_path / "osnet_x0_25.pth"]])
    names = [entry["name"] for entry in yaml.safe_load(text)["checkpoints"]]
    assert names == ["osnet_x0_25.msmt17_2", "osnet_x0_25.msmt17_3", "osnet_x0_25.mine"]
    assert not set(names) & set(zoo().by_name)


def test_file_that_no_entry_loads_is_an_error_without_an_entry(tmp_path, monkeypatch, capsys):
    (tmp_path / "good.pth").write_bytes(saved(STATE))
    (tmp_path / "bad.pth").write_bytes(saved({name: t for name, t in STATE.items() if "conv1" not in name}))
    monkeypatch.chdir(tmp_path)

    done = run_here(monkeypatch, capsys, "doctor", "--manifest", "bad.pth", "good.pth", "missing.pth")

    assert done.returncode == 1
    assert [entry["name"] for entry in yaml.safe_load(done.stdout)["checkpoints"]] == ["osnet_x0_25.good"]
    assert "error: no entry loads bad.pth: " in done.stderr and "conv1" in done.stderr
    assert "'missing.pth' cannot be read" in done.stderr
    assert run_here(monkeypatch, capsys, "doctor", "--manifest", "--json", "good.pth").returncode == 2


@pytest.mark.parametrize("content", [named("model.", **EXTRA), named("model.")])
def test_hint_for_a_file_that_an_entry_loads_names_the_command(tmp_path, content):
    path = tmp_path / "my file.pth"
    path.write_bytes(saved(content))
    found = doctor(path)
    assert found.loadable or f"`reidhub doctor --manifest '{path}'` prints one" in found.hint
    assert found.layout is not None and found.layout.strip_prefix == "model."
