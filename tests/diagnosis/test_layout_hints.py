"""Files of trainers that do not load as they are: the hint of the diagnosis makes them load."""

import re
import warnings
from pathlib import Path

import pytest
import torch
from support.hostile_files import saved
from support.local_zoos import Entry, state_of, write_zoo
from torch import nn

import reidhub
from reidhub.diagnosis import Diagnosis

NAME = "osnet_x0_25.mine"


def named(prefix: str, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**{prefix + name: tensor for name, tensor in state_of("osnet_x0_25", 3).items()}, **more}


def diagnose(folder: Path, content: bytes) -> Diagnosis:
    path = folder / "stray.pth"
    path.write_bytes(content)
    return reidhub.doctor(path)


FILES = {
    "centres of a loss": (named("", centers=torch.ones(3, 2)), "it holds osnet_x0_25, and 1 other tensors"),
    "a loss below a prefix": (
        named("model.", **{"loss.centers": torch.ones(3, 2), "loss.w": torch.ones(1), "step": torch.tensor(3)}),
        "it holds osnet_x0_25 under 'model.', and 3 other tensors",
    ),
    "a second part of a wrapped model": (
        named("module.", **{"module.conv1.extra": torch.ones(1), "module.centers": torch.ones(1)}),
        "it holds osnet_x0_25 under 'module.', and 2 other tensors",
    ),
    "two models": ({"net": named(""), "net_ema": named("")}, "it holds several mappings of tensors"),
}


@pytest.mark.parametrize("what", FILES)
def test_layout_in_the_hint_makes_the_file_load(tmp_path, monkeypatch, what):
    content, problem = FILES[what]

    found = diagnose(tmp_path, saved(content))

    assert not found.loadable and found.problem.startswith(problem)
    layout = re.search(r"`(layout: {.*?})`", found.hint)[1]
    own = Path(write_zoo(tmp_path, Entry(NAME, saved(content))))
    own.write_text(own.read_text().replace("file: {", f"file: {{{layout}, "))
    monkeypatch.setenv("REIDHUB_MANIFEST", str(own))
    assert reidhub.load(NAME).num_classes == 3
    assert reidhub.load(NAME).num_classes == 3  # from the converted copy
    assert reidhub.doctor(tmp_path / "stray.pth").loadable


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod."])
def test_compiled_model_loads_and_the_diagnosis_names_its_prefix(tmp_path, prefix):
    found = diagnose(tmp_path, saved({"ema": 1, "state_dict": named(prefix)}))

    assert found.loadable
    assert (found.wrapping.root, found.wrapping.prefix) == ("state_dict", prefix)


@pytest.mark.parametrize("prefix", ["module.model.", "_orig_mod.backbone.", "model."])
def test_prefix_that_only_a_wrapping_module_explains_is_named_and_the_file_loads(tmp_path, prefix):
    found = diagnose(tmp_path, saved({"net": named(prefix)}))

    assert found.loadable and found.architecture == "osnet_x0_25"
    assert (found.wrapping.root, found.wrapping.prefix) == ("net", prefix)
    assert reidhub.load(tmp_path / "stray.pth").num_classes == 3


def test_averaged_model_loads(tmp_path):
    found = diagnose(tmp_path, saved(named("module.", n_averaged=torch.tensor(9))))

    assert found.loadable and found.wrapping.prefix == "module."


def test_diagnosis_names_the_mapping_that_was_read_although_an_equal_one_comes_first(tmp_path):
    found = diagnose(tmp_path, saved({"ema": named(""), "state_dict": named("")}))

    assert found.loadable and found.wrapping.root == "state_dict"


def test_names_that_yaml_would_misread_are_in_no_hint(tmp_path):
    found = diagnose(tmp_path, saved(named("", **{"a: [\x1b": torch.ones(1)})))

    assert found.problem == "it holds osnet_x0_25, and 1 other tensors"
    assert found.hint == "save the tensors of osnet_x0_25 only, without a prefix"


def test_diagnosis_recognises_a_torchscript_program(tmp_path):
    with warnings.catch_warnings(action="ignore"):  # TorchScript is deprecated
        torch.jit.save(torch.jit.trace(nn.Linear(2, 3).eval(), torch.ones(1, 2)), tmp_path / "program.pt")

    found = reidhub.doctor(tmp_path / "program.pt")

    assert found.format == "torchscript" and "TorchScript program" in found.problem
