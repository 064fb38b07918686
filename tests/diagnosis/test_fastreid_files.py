"""Stray files of fast-reid: of the code of July 2020, of today's code, and of the versions between."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.verify_runs import run_here
from torch import Tensor

import reidhub
from reidhub.diagnosis.manifest_entry import write_manifest
from reidhub.diagnosis.own_file import find_own_checkpoint
from reidhub.diagnosis.resemblance import find_twins
from reidhub.diagnosis.tensor_match import find_by_tensors
from reidhub.errors import StateDictError
from reidhub.models import ARCHITECTURES, build
from reidhub.weights.fit import is_classifier
from reidhub.zoo.manifest import zoo

PIXELS = {"pixel_mean": [123.675, 116.28, 103.53], "pixel_std": [58.395, 57.12, 57.375]}


def make_july2020(architecture: str, classes: int = 751) -> dict[str, Tensor]:
    """Make the tensors of a file of July 2020, as small integers, which take a quarter of the space."""
    model = build(architecture, classes, device="meta").state_dict()
    tensors = {name: torch.zeros(tensor.shape, dtype=torch.int8) for name, tensor in model.items()}
    return {**tensors, **{name: torch.tensor(numbers).reshape(1, 3, 1, 1) for name, numbers in PIXELS.items()}}


def make_todays_code(architecture: str, classes: int = 751, *, exponent: bool = True) -> dict[str, Tensor]:
    """Make the tensors of a file of today's code: neck and classifier renamed, no pixels."""
    renamed = {"heads.bnneck.": "heads.bottleneck.0.", "heads.classifier.weight": "heads.weight"}
    tensors = {}
    for name, tensor in make_july2020(architecture, classes).items():
        if name in PIXELS or (name.endswith("pool_layer.p") and not exponent):
            continue
        for old, new in renamed.items():
            name = name.replace(old, new)
        tensors[name] = tensor
    return tensors


def save(folder: Path, tensors: dict[str, Tensor], name: str = "model_final.pth") -> Path:
    path = folder / name
    optimizer = {"state": {0: {"step": 1, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    saved = {"model": tensors, "optimizer": optimizer, "scheduler": {"last_epoch": 1}, "iteration": 17}
    torch.save(saved, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves the tensors of an architecture once for all tests; other file names are links."""
    folder = tmp_path_factory.mktemp("files")

    def find(architecture: str, name: str = "model_final.pth", make: Callable = make_july2020, **how: Any) -> Path:
        key = folder / f"{make.__name__}.{architecture}"
        if not key.exists():
            key.mkdir()
            save(key, make(architecture, **how))
        if name != "model_final.pth":
            os.link(key / "model_final.pth", key / name)
        return key / name

    return find


@pytest.mark.parametrize("architecture", ["fastreid_bot_r50", pytest.param("fastreid_bot_s50", marks=pytest.mark.long)])
def test_a_file_of_july_2020_is_known_and_loads(files, architecture):
    found = reidhub.doctor(files(architecture))

    assert (found.architecture, found.num_classes, found.named_layout) == (architecture, 751, "july2020")
    assert found.loadable and found.twins == ()
    model = reidhub.load(files(architecture))
    assert model.embed(torch.zeros(1, 3, *model.input_size)).shape == (1, 2048)


def test_architectures_with_the_same_tensors_are_both_named_and_none_is_guessed(files):
    path = files("fastreid_agw_r50")

    found = reidhub.doctor(path)

    assert {found.architecture, *found.twins} == {"fastreid_agw_r50", "fastreid_sbs_r50"}
    assert {"fastreid_agw_r50.market1501", "fastreid_sbs_r50.market1501"} <= set(found.candidates)
    with pytest.raises(StateDictError, match="the tensors of fastreid_agw_r50 and of fastreid_sbs_r50") as caught:
        reidhub.load(path)
    assert "architecture=..." in caught.value.hint
    assert reidhub.load(path, architecture="fastreid_sbs_r50").input_size == (384, 128)


def test_preprocessing_card_and_folder_follow_the_named_architecture(files, tmp_path, monkeypatch, capsys):
    path, named = files("fastreid_agw_r50"), ("--architecture", "fastreid_sbs_r50")

    spec = reidhub.transform(path, architecture="fastreid_sbs_r50").spec
    card = run_here(monkeypatch, capsys, "card", str(path), *named)
    done = run_here(monkeypatch, capsys, "publish", str(path), str(tmp_path / "folder"), *named)

    assert (spec.height, spec.width) == (384, 128)
    assert "fastreid_sbs_r50" in card.stdout and done.returncode == 0
    assert reidhub.load(tmp_path / "folder").input_size == (384, 128)


def test_a_wrong_architecture_is_answered_with_those_that_fit(files):
    path = files("fastreid_agw_r50")

    with pytest.raises(StateDictError) as caught:
        reidhub.load(path, architecture="fastreid_bot_r50")
    assert caught.value.hint == "it has the tensors of fastreid_agw_r50 and of fastreid_sbs_r50"

    with pytest.raises(StateDictError) as caught:
        reidhub.load(files("fastreid_bot_r50", make=make_todays_code, exponent=False), architecture="fastreid_bot_r50")
    assert caught.value.hint == "load it with the code that it was trained with"


def test_the_published_name_tells_which_of_two_it_is(files):
    found = reidhub.doctor(files("fastreid_agw_r50", "market_sbs_R50.pth"))

    assert (found.architecture, found.twins) == ("fastreid_sbs_r50", ())


@pytest.mark.long
def test_only_agw_and_sbs_of_one_backbone_have_the_same_tensors():
    shapes = {
        name: {
            (key, tensor.shape)
            for key, tensor in build(name, 1, device="meta").state_dict().items()
            if not is_classifier(key)
        }
        for name in ARCHITECTURES
    }
    for name, own in shapes.items():
        assert set(find_twins(name)) == {other for other in shapes if other != name and shapes[other] == own}
    assert {name for name in ARCHITECTURES if find_twins(name)} == {
        f"fastreid_{way}_{backbone}" for way in ("agw", "sbs") for backbone in ("r50", "r50_ibn", "s50", "r101_ibn")
    }


@pytest.mark.parametrize(
    "architecture, reason",
    [
        ("fastreid_bot_r50", "its max pooling has no padding since 6 November 2020"),
        pytest.param(
            "fastreid_bot_s50",
            "its last stage is dilated since 7 December 2020",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "fastreid_agw_r50",
            "the exponent of GeM pooling is fixed at 3 in AGW",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_file_of_todays_code_is_another_network_and_the_reason_is_given(files, architecture, reason):
    path = files(architecture, make=make_todays_code, exponent=False)

    found = reidhub.doctor(path)

    assert not found.loadable and found.named_layout == "todays_code"
    assert found.problem.startswith("it has the layout todays_code (files of fast-reid's code since 23 March 2021);")
    assert reason in found.problem
    assert (found.architecture, found.layout) == (None, None)
    with pytest.raises(StateDictError, match="another network"):
        reidhub.load(path)


@pytest.mark.long
def test_a_file_of_todays_mgn_is_another_network(tmp_path):
    tensors = {}
    for name, tensor in make_july2020("fastreid_mgn_r50_ibn").items():
        branch, _, rest = name.partition("_pool.")
        if "bnneck" in name or name in PIXELS:
            continue
        for old, new in {"0.p": "pool_layer.p", "1.weight": "bottleneck.0.weight", "2.": "bottleneck.1."}.items():
            if rest.startswith(old):
                name = f"{branch}_head.{rest.replace(old, new, 1)}"
        tensors[name.replace("classifier.weight", "weight")] = tensor

    found = reidhub.doctor(save(tmp_path, tensors))

    assert (found.nearest, found.named_layout) == ("fastreid_mgn_r50_ibn", "todays_code")
    assert "its heads have one normalisation less, and no ReLU" in found.problem


def test_bot_sorts_files_load_as_the_network_of_2021(tmp_path):
    path = save(tmp_path, make_todays_code("fastreid_sbs_s50_2021", 487), "mot20_sbs_S50.pth")

    found = reidhub.doctor(path)

    assert (found.architecture, found.num_classes) == ("fastreid_sbs_s50_2021", 487)
    assert found.loadable and found.named_layout == "todays_code"
    assert "heads.bnneck.weight" in reidhub.load(path).state_dict()


@pytest.mark.parametrize(
    "counters",
    [
        ("bnneck", "bottleneck.0"),
        *(pytest.param(some, marks=pytest.mark.long) for some in (("bnneck",), ("bottleneck.0",), ())),
    ],
)
def test_vehicle_files_may_have_either_counter_of_the_neck_or_both(tmp_path, counters):
    tensors = make_july2020("fastreid_bot_gem_r50_ibn", 13164)
    neck = {name: tensors.pop(name) for name in list(tensors) if name.startswith("heads.bnneck.")}
    count = neck.pop("heads.bnneck.num_batches_tracked")
    tensors |= {name.replace("bnneck", "bottleneck.0"): tensor for name, tensor in neck.items()}
    tensors |= {f"heads.{name}.num_batches_tracked": count for name in counters}
    path = save(tmp_path, tensors, "vehicleid_bot_R50-ibn.pth")

    found = reidhub.doctor(path)

    assert found.loadable and found.architecture == "fastreid_bot_gem_r50_ibn"
    assert found.named_layout == ("veri_patched" if "bnneck" in counters else "veriwild_patched")
    assert "heads.bnneck.weight" in reidhub.load(path).state_dict()


@pytest.mark.long
def test_a_file_of_a_version_between_is_another_network(tmp_path):
    tensors = make_july2020("fastreid_bot_r50")
    renamed = {name.replace("bnneck", "bottleneck.0"): tensor for name, tensor in tensors.items()}

    found = reidhub.doctor(save(tmp_path, renamed))

    assert found.named_layout == "veriwild_patched" and not found.loadable
    assert "no padding" in found.problem


def test_a_file_whose_images_are_prepared_in_another_way_is_refused(tmp_path):
    path = save(tmp_path, {**make_july2020("fastreid_bot_r50"), "pixel_std": torch.ones(1, 3, 1, 1)})

    found = reidhub.doctor(path)

    assert not found.loadable
    assert found.problem == "expected pixel_std = [58.395, 57.12, 57.375], got [1.0, 1.0, 1.0]"


def test_the_entry_for_a_file_names_its_layout(files, tmp_path, monkeypatch):
    path = files("fastreid_bot_r50", "mine.pth")

    text = write_manifest([reidhub.doctor(path)])

    own = tmp_path / "own.yaml"
    own.write_text(text)
    monkeypatch.setenv("REIDHUB_MANIFEST", str(own))
    assert "layout: july2020" in text
    assert reidhub.load("fastreid_bot_r50.mine").num_classes == 751
    assert reidhub.find("fastreid_bot_r50.mine")[0].distance == find_own_checkpoint(path).distance == "cosine"


def test_the_command_tells_layout_and_both_architectures(files, capsys, monkeypatch):
    path = files("fastreid_agw_r50")

    text = run_here(monkeypatch, capsys, "doctor", str(path)).stdout

    assert "under the key 'model', in the layout july2020" in text
    assert "fastreid_agw_r50 or fastreid_sbs_r50" in text
    assert "yes, as one of them: architecture='fastreid_agw_r50'" in text
    entry = write_manifest([reidhub.doctor(path)])
    assert "# The tensors are those of fastreid_sbs_r50 too, whose images have another size: choose the model." in entry


def test_a_published_file_is_found_by_its_name_and_its_tensors_and_todays_code_never_is(files):
    checkpoints = [c for c in zoo().checkpoints if c.model.startswith("fastreid_") and not c.artifact.pinned]
    published = files("fastreid_bot_r50", "market_bot_R50.pth")
    assert [c.name for c in find_by_tensors(published, checkpoints)] == ["fastreid_bot_r50.market1501"]

    other = files("fastreid_bot_r50", "market_bot_R50.pth", make=make_todays_code, exponent=False)
    assert find_by_tensors(other, checkpoints) == []
