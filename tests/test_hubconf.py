"""torch.hub: from a folder, and from torch.hub's own cache as a user's first call leaves it there."""

import ast
import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.local_zoos import Entry, file_of, write_zoo
from support.paths import GUARD, ROOT

import reidhub.api
from reidhub.errors import StateDictError, UsageError
from reidhub.models import ARCHITECTURES, build
from reidhub.models.base import ReidModel
from reidhub.zoo.manifest import zoo

IN_CACHE = """
import json, pathlib, torch
where = {"repo_or_dir": "org/reidhub", "skip_validation": True, "trust_repo": True}
models = torch.hub.list("org/reidhub", skip_validation=True, trust_repo=True)
help = {name: torch.hub.help("org/reidhub", name, skip_validation=True, trust_repo=True) for name in models}
model = torch.hub.load(model="osnet_x0_25", dataset="mine", **where)
start = torch.hub.load(model="osnet_x0_25", dataset="mine", num_classes=4, **where)
import reidhub
print(json.dumps([models, help, model.num_classes, start.num_classes, str(pathlib.Path(reidhub.__file__).parents[1])]))
"""


def load(name: str, **arguments: object) -> ReidModel:
    return torch.hub.load(str(ROOT), name, source="local", **arguments)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_entry_point_builds_its_own_architecture(name):
    model = load(name, pretrained=False, num_classes=3)

    assert model.training and model.num_classes == 3
    assert {key: t.shape for key, t in model.state_dict().items()} == shapes_of(name)


def shapes_of(name: str) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in build(name, 3, device="meta").state_dict().items()}


def test_published_weights_load_with_the_files_classes_or_others(tmp_path, monkeypatch):
    own = Entry("osnet_x0_25.mine", file_of("osnet_x0_25", 5))
    monkeypatch.setenv("REIDHUB_MANIFEST", write_zoo(tmp_path, own))

    assert not load("osnet_x0_25", dataset="mine").training
    assert load("osnet_x0_25", dataset="mine").num_classes == 5
    assert load("osnet_x0_25", dataset="mine", num_classes=4).num_classes == 4


def test_entry_point_without_a_dataset_loads_the_default_of_the_manifest(monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(reidhub.api, "_fetch", lambda checkpoint, cache: asked.append(checkpoint.name) or 1 / 0)

    for name in ARCHITECTURES:
        with pytest.raises(ZeroDivisionError):
            load(name)

    assert asked == [zoo().architecture(name).default for name in ARCHITECTURES]


def test_new_model_that_was_trained_on_something_is_an_error():
    with pytest.raises(UsageError, match="pretrained=True"):
        load("osnet_x0_25", dataset="msmt17", pretrained=False)


@pytest.fixture(scope="module")
def torch_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``TORCH_HOME`` in which torch.hub finds the repository as if it had fetched it: the tracked files."""
    home = tmp_path_factory.mktemp("torch-home")
    target = home / "hub" / "org_reidhub_main"
    for name in ("reidhub", "manifest"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "hubconf.py", target)
    return home


def test_checkout_in_the_cache_of_torch_hub_lists_explains_and_loads(torch_home, tmp_path):
    manifest = write_zoo(tmp_path, Entry("osnet_x0_25.mine", file_of("osnet_x0_25", 5)))
    environment = {
        **os.environ,
        "TORCH_HOME": str(torch_home),
        "REIDHUB_MANIFEST": manifest,
        "PYTHONPATH": str(GUARD),
    }

    done = subprocess.run(
        [sys.executable, "-c", IN_CACHE], capture_output=True, text=True, env=environment, cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    models, texts, classes, other, home = json.loads(done.stdout.splitlines()[-1])
    assert sorted(models) == sorted(ARCHITECTURES)
    words = ("->", "dataset:", "pretrained:", "num_classes:", "(N, D)")
    assert all(word in texts[name] for name in ARCHITECTURES for word in words)
    assert (classes, other) == (5, 4)
    assert home == str(torch_home / "hub" / "org_reidhub_main")


def test_all_entry_points_take_the_same_arguments():
    import hubconf

    functions = [getattr(hubconf, name) for name in ARCHITECTURES]
    (signature,) = {str(inspect.signature(function)) for function in functions}

    assert signature.startswith(
        "(dataset: str | None = None, *, file: 'str | _PathLike[str] | None' = None, pretrained: bool = True, "
        "num_classes: int | None = None)"
    )
    assert [function.__name__ for function in functions] == list(ARCHITECTURES)
    assert hubconf.dependencies


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_help_tells_the_shapes_of_the_architecture(name):
    import hubconf

    model = build(name, 1, device="meta")
    height, width = model.input_size
    summary = getattr(hubconf, name).__doc__.partition("\n")[0]

    assert f"(N, 3, {height}, {width})" in summary
    assert f"-> (N, {model.embedding_dim})" in summary


@pytest.mark.parametrize("wrong", ["market1501", 1, None])
def test_pretrained_that_names_a_dataset_is_an_error_that_says_how_to_choose_weights(wrong):
    with pytest.raises(UsageError, match=r"pretrained is True or False, got (.|\n)*dataset=") as caught:
        load("osnet_x0_25", pretrained=wrong)
    assert repr(wrong) in caught.value.message


TWO_VERSIONS = """
import sys, torch
sys.path.insert(0, sys.argv[1])
import reidhub
sys.path.pop(0)
torch.hub.load(sys.argv[2], "osnet_x0_25", source="local", pretrained=False)
"""


def test_a_second_version_in_one_process_is_an_error_that_names_both_folders(torch_home, tmp_path):
    first, second = torch_home / "hub" / "org_reidhub_main", tmp_path / "second"
    shutil.copytree(first, second)
    environment = {**os.environ, "PYTHONPATH": str(GUARD)}

    def run(*folders: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", TWO_VERSIONS, *map(str, folders)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)

    said = run(first, second).stderr
    assert f"torch.hub wants reidhub from {second}, but this process has already imported it from {first}" in said
    assert "hint: start a new process" in said
    assert run(first, first).returncode == 0
    (tmp_path / "link").symlink_to(first)
    assert run(first, tmp_path / "link").returncode == 0


@pytest.mark.parametrize("file", ["hubconf.py", "reidhub/__init__.py", "reidhub/_version.py"])
def test_older_versions_of_python_can_parse_what_tells_them_which_version_is_needed(file):
    ast.parse((ROOT / file).read_text(encoding="utf-8"), feature_version=(3, 7))


OLD_PYTHON = """
import runpy, sys
sys.version_info = (3, 10, 13, "final", 0)
runpy.run_path(sys.argv[1])
"""
NEEDED = "reidhub needs Python 3.11 or later, but this is Python 3.10"


def test_hubconf_names_the_python_that_is_needed():
    done = subprocess.run(
        [sys.executable, "-c", OLD_PYTHON, str(ROOT / "hubconf.py")], capture_output=True, text=True, cwd=ROOT
    )

    assert done.stderr.splitlines()[-1] == f"ImportError: {NEEDED}"


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10"])
def test_a_real_older_python_is_told_which_python_is_needed(version, tmp_path):
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", "pass"], capture_output=True).returncode:
        pytest.skip(f"there is no Python {version}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    done = subprocess.run(
        [python, "-B", "-c", "import hubconf"], capture_output=True, text=True, cwd=ROOT, env=environment
    )

    assert done.stderr.splitlines()[-1] == f"ImportError: {NEEDED.removesuffix('3.10')}{version}"


def test_entry_point_loads_a_file_of_its_architecture_only(tmp_path):
    path = tmp_path / "mine.pth"
    path.write_bytes(file_of("osnet_x0_25", 5))

    assert load("osnet_x0_25", file=path).num_classes == 5
    assert load("osnet_x0_25", file=str(path), num_classes=3).num_classes == 3
    with pytest.raises(StateDictError, match="tensors do not fit"):
        load("osnet_x0_5", file=path)
    with pytest.raises(UsageError, match="needs pretrained=True"):
        load("osnet_x0_25", file=path, pretrained=False)
