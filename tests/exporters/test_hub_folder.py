"""Folders for a hub: what they contain, that they load as the checkpoint did, and that no part of one is left."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from support.full_disks import file_size_limit
from support.generated_zoo import files_below
from support.hostile_files import saved
from support.local_zoos import Entry, file_of, state_of, write_zoo
from support.zoo_entries import reidhub as run_reidhub

import reidhub
from reidhub.api import find_one
from reidhub.errors import CacheError, DiskFullError, UsageError, WeightsError
from reidhub.exporters import hub_folder
from reidhub.exporters.hub_folder import publish
from reidhub.files.digest import Digest
from reidhub.models import ARCHITECTURES
from reidhub.weights.safetensors_file import serialise

NAME = "osnet_x0_25.mine"
FILES = {"weights.safetensors", "config.json", "reid_config.json", "README.md", "LICENSE.md"}


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A manifest with one checkpoint, whose images are 64x32; returns its name."""
    material = tmp_path / "material"
    material.mkdir()
    own = write_zoo(material, Entry(NAME, file_of("osnet_x0_25", 5, seed=3), trained_on="market1501", classes=5))
    monkeypatch.setenv("REIDHUB_MANIFEST", own)
    return NAME


def assert_same_weights(folder: Path, original: Path | str, architecture: str | None = None) -> None:
    ours, theirs = reidhub.load(folder).state_dict(), reidhub.load(original, architecture=architecture).state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_folder_has_the_weights_and_says_what_they_need(checkpoint: str, tmp_path: Path) -> None:
    folder = publish(find_one(checkpoint), tmp_path / "deep" / "folder")

    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]
    assert_same_weights(folder, checkpoint)
    content = (folder / "weights.safetensors").read_bytes()
    original = Digest.of_file(tmp_path / "material" / f"{NAME}.pth").hex
    config = json.loads((folder / "config.json").read_text())
    assert config["weights"] == {"sha256": Digest.of_bytes(content).hex, "size": len(content)}
    assert config["original_sha256"] == original and config["name"] == NAME and config["num_classes"] == 5
    assert (config["trained_on"], config["distance"], config["licence"]) == (["market1501"], "euclidean", "MIT")
    with safe_open(folder / "weights.safetensors", framework="np") as header:
        assert header.metadata() == {"sha256_of_original": original}
    reid = json.loads((folder / "reid_config.json").read_text())
    assert reid["architecture"] == "osnet_x0_25" and reid["preprocessing"] == {
        "input_size": [64, 32],
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "interpolation": "bilinear",
        "to_rgb": True,
        "resize_mode": "stretch",
        "pad_value": 114,
    }
    assert "Licence and terms of use of the weights: MIT." in (folder / "LICENSE.md").read_text()

    (tmp_path / "empty" / ".incoming-12").mkdir(parents=True)  # as a killed run leaves it
    again = publish(find_one(checkpoint), tmp_path / "empty")  # needs no force, and gives the same bytes
    assert files_below(again) == files_below(folder)


def test_the_folder_says_with_which_filter_images_are_resized(checkpoint: str, tmp_path: Path) -> None:
    spec = replace(find_one(checkpoint).input, interpolation="bicubic")

    folder = publish(replace(find_one(checkpoint), input=spec), tmp_path / "folder")

    assert find_one(folder).input == spec
    assert json.loads((folder / "reid_config.json").read_text())["preprocessing"]["interpolation"] == "bicubic"
    assert "with PIL's bicubic filter" in " ".join((folder / "README.md").read_text().split())


@pytest.mark.long
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_loads_from_its_folder(architecture: str, tmp_path: Path) -> None:
    (tmp_path / "my.pth").write_bytes(file_of(architecture, 3))
    folder = publish(find_one(tmp_path / "my.pth", architecture=architecture), tmp_path / "my folder")
    assert_same_weights(folder, tmp_path / "my.pth", architecture)


def test_a_file_without_counts_gets_them_and_one_without_a_classifier_stays_so(tmp_path: Path) -> None:
    left_out = ("num_batches_tracked", "classifier.weight", "classifier.bias")
    state = {name: tensor for name, tensor in state_of("osnet_x0_25", 5).items() if not name.endswith(left_out)}
    (tmp_path / "old.pth").write_bytes(saved(state))

    folder = publish(find_one(tmp_path / "old.pth"), tmp_path / "folder")

    wanted = {name for name in state_of("osnet_x0_25", 5) if not name.startswith("classifier")}
    assert reidhub.read_weights(folder / "weights.safetensors").keys() == wanted
    assert json.loads((folder / "config.json").read_text())["num_classes"] is None
    assert reidhub.load(folder).num_classes == 1000


@pytest.mark.long
def test_a_folder_of_a_folder_is_the_same_but_for_its_origin(checkpoint: str, tmp_path: Path) -> None:
    first = publish(find_one(checkpoint), tmp_path / "mine")
    second = publish(find_one(first), tmp_path / "copy")

    configs = [json.loads((folder / "config.json").read_text()) for folder in (first, second)]
    assert configs[1].pop("original_sha256") == configs[0]["weights"]["sha256"]
    for config in configs:
        for name in ("weights", "original_sha256", "name"):
            config.pop(name, None)
    assert configs[0] == configs[1]
    assert_same_weights(second, checkpoint)


def test_a_folder_with_files_is_only_written_with_force_which_keeps_other_files(
    checkpoint: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_bytes(b"image")
    (folder / "README.md").write_text("old")

    with pytest.raises(UsageError, match=r"is not empty: it has 'README.md'\nhint: --force"):
        publish(find_one(checkpoint), folder)
    assert files_below(folder) == {"images/a.png": b"image", "README.md": b"old"}

    publish(find_one(checkpoint), folder, force=True)
    assert files_below(folder).keys() == FILES | {"images/a.png"}
    assert (folder / "README.md").read_text().startswith("---\nlibrary_name: reidhub\n")
    assert_same_weights(folder, checkpoint)


@pytest.mark.parametrize(("path", "error"), [("file", UsageError), ("file/below", CacheError)])
def test_a_path_that_cannot_be_a_folder_is_an_error(checkpoint: str, tmp_path: Path, path: str, error: type) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(error, match=r"expected a folder, but .* is a file|cannot write the folder"):
        publish(find_one(checkpoint), tmp_path / path)
    assert (tmp_path / "file").read_text() == "text"


def test_a_full_disk_leaves_nothing_of_a_new_folder_and_all_of_an_old_one(checkpoint: str, tmp_path: Path) -> None:
    found = find_one(checkpoint)
    old = publish(found, tmp_path / "out" / "old")
    before = files_below(tmp_path / "out")
    for folder, force in ((tmp_path / "out" / "new", False), (old, True)):
        with pytest.raises(DiskFullError, match="cannot write the folder"), file_size_limit(100_000):
            publish(found, folder, force=force)
        assert files_below(tmp_path / "out") == before and list((tmp_path / "out").iterdir()) == [old]


def test_a_folder_that_does_not_load_is_not_handed_out(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_one(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> Iterator[bytes | memoryview]:
        return serialise({name: tensor for name, tensor in tensors.items() if name != "conv1.conv.weight"}, metadata)

    monkeypatch.setattr(hub_folder, "serialise", lose_one)
    with pytest.raises(WeightsError, match=r"conv1.conv.weight"):
        publish(find_one(checkpoint), tmp_path / "out" / "folder")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command_writes_a_folder_that_another_process_loads(checkpoint: str, tmp_path: Path) -> None:
    done = run_reidhub("publish", checkpoint, tmp_path / "folder")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'folder'}\n"), done.stderr
    assert_same_weights(tmp_path / "folder", checkpoint)
