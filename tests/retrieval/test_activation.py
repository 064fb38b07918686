"""Activation maps: the definition of torchreid, every architecture, and the files of the command."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from support.architectures import MGN
from support.verify_runs import run_here

from reidhub.demo import world
from reidhub.models import ARCHITECTURES, build
from reidhub.models.base import ReidModel
from reidhub.retrieval.activation import compute_maps

NAME = "tiny.corridor"


def test_map_is_the_sum_of_squares_stretched_to_255():
    maps = torch.zeros(2, 3, 4, 2)
    maps[0, :, 1, 0] = torch.tensor([1.0, -2.0, 2.0])
    maps[0, :, 3, 1] = 1.0
    maps[1] = 5.0

    found = compute_maps(maps, (4, 2))

    assert found[0, 1, 0] == pytest.approx(255)
    assert found[0, 3, 1] == pytest.approx(255 * 3 / 9)
    assert found[0, 0, 0] == 0
    assert not found[1].any()  # the same everywhere
    assert compute_maps(maps, (32, 16)).shape == (2, 32, 16)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "tiny"])
def test_every_architecture_has_feature_maps_that_the_embedding_depends_on(name):
    with torch.device("meta"):
        model = build(name, 2, device="meta").eval()
        images = torch.empty(1, 3, *model.input_size)
        maps = model.feature_maps(images)
    assert maps.ndim == 4
    assert maps.shape[2] > 1 < maps.shape[3]
    own = type(model).feature_maps
    assert own is not ReidModel.feature_maps
    branches = 3 if name == MGN else 1
    assert model.embedding_dim in (maps.shape[1] // branches, 512, 1024)


@pytest.fixture
def images(tmp_path):
    """Two folders with an image of the same name each, and a file that is no image."""
    for number, shot in enumerate(world.list_shots("query")[:2]):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "same.jpg").write_bytes(world.photograph(shot))
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    return [str(tmp_path / name) for name in ("0/same.jpg", "1/same.jpg", "bad.jpg")]


def draw(monkeypatch, capsys, images, folder, *options):
    return run_here(monkeypatch, capsys, "activation", NAME, *images, "-o", str(folder), "--device", "cpu", *options)


def test_command_draws_all_readable_images_with_names_of_their_own(tmp_path, images, monkeypatch, capsys):
    done = draw(monkeypatch, capsys, images, tmp_path / "maps", "--json")

    assert done.returncode == 1
    assert "bad.jpg cannot be decoded" in done.stderr
    files = [tmp_path / "maps" / "same.png", tmp_path / "maps" / "same-2.png"]
    assert json.loads(done.stdout) == [
        {"image": image, "path": str(file)} for image, file in zip(images, files, strict=False)
    ]
    assert sorted((tmp_path / "maps").iterdir()) == sorted(files)
    first, second = (np.asarray(Image.open(file)) for file in files)
    assert first.shape == (64, 3 * 32 + 20, 3)
    assert (first != second).any()
    with Image.open(images[0]) as original:
        resized = np.asarray(original.convert("RGB").resize((32, 64), Image.Resampling.BILINEAR))
    assert (first[:, :32] == resized).all()


def test_existing_files_are_replaced_only_if_asked_for(tmp_path, images, monkeypatch, capsys):
    (tmp_path / "maps").mkdir()
    old = tmp_path / "maps" / "same-2.png"
    old.write_bytes(b"mine")
    done = draw(monkeypatch, capsys, images[:2], tmp_path / "maps")
    assert done.returncode == 2
    assert "same-2.png exists" in done.stderr
    assert "--force" in done.stderr
    assert [file.name for file in (tmp_path / "maps").iterdir()] == ["same-2.png"]
    assert old.read_bytes() == b"mine"
    assert draw(monkeypatch, capsys, images[:2], tmp_path / "maps", "--force").returncode == 0
    assert Image.open(old).size == (3 * 32 + 20, 64)


def test_exported_file_is_refused(tmp_path, images, monkeypatch, capsys):
    (tmp_path / "my.onnx").touch()
    done = run_here(monkeypatch, capsys, "activation", str(tmp_path / "my.onnx"), *images, "-o", str(tmp_path / "maps"))
    assert done.returncode == 2
    assert "is an exported file" in done.stderr
    assert not (tmp_path / "maps").exists()
