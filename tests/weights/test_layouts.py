"""Renamed tensors and constants of a layout: what is read under which name, and what is refused."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reidhub.errors import WeightsError
from reidhub.weights import read_weights
from reidhub.weights.conversion import convert, read_cached_weights
from reidhub.zoo.artifact import StateDictLayout

MEAN = (123.675, 116.28, 103.53)
LAYOUT = StateDictLayout(
    skip=("heads.bnneck.num_batches_tracked",),
    rename={"heads.bottleneck.0.": "heads.bnneck.", "heads.weight": "heads.classifier.weight"},
    constants={"pixel_mean": MEAN},
)


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    return {
        "pixel_mean": torch.tensor(MEAN).reshape(1, 3, 1, 1),
        "backbone.conv1.weight": torch.ones(2),
        "heads.bottleneck.0.weight": torch.full((2,), 2.0),
        "heads.bottleneck.0.num_batches_tracked": torch.tensor(7),
        "heads.bnneck.num_batches_tracked": torch.tensor(8),
        "heads.weight": torch.full((3, 2), 3.0),
    }


def save(folder: Path, tensors: dict[str, Tensor]) -> Path:
    path = folder / f"{'0' * 64}.pth"
    torch.save({"model": tensors, "iteration": 1}, path)
    return path


def test_renamed_tensors_have_their_new_names_and_constants_are_left_out(tmp_path, tensors):
    got = read_weights(save(tmp_path, tensors), layout=LAYOUT)

    assert {name: tensor.flatten()[0].item() for name, tensor in got.items()} == {
        "backbone.conv1.weight": 1,
        "heads.bnneck.weight": 2,
        "heads.bnneck.num_batches_tracked": 7,
        "heads.classifier.weight": 3,
    }


def test_a_name_without_a_dot_at_its_end_renames_no_longer_name(tmp_path, tensors):
    tensors["heads.weight_norm"] = torch.ones(1)

    assert "heads.weight_norm" in read_weights(save(tmp_path, tensors), layout=LAYOUT)


def test_tensors_are_renamed_without_the_prefix_of_all_names_and_at_the_start_alone(tmp_path, tensors):
    tensors["heads.bottleneck.0.heads.bottleneck.0.weight"] = torch.ones(1)
    wrapped = {f"module.{name}": tensor for name, tensor in tensors.items() if not name.startswith("heads.bnneck.")}

    got = read_weights(save(tmp_path, wrapped), layout=LAYOUT)

    assert {"heads.bnneck.weight", "heads.bnneck.heads.bottleneck.0.weight", "heads.classifier.weight"} <= got.keys()


def test_a_converted_file_has_the_new_names_too(tmp_path, tensors):
    path = save(tmp_path, tensors)
    first = read_weights(path, layout=LAYOUT)
    convert(path, first, LAYOUT)
    path.write_bytes(b"")  # from here on, only the converted file can give the tensors

    later = read_cached_weights(path, LAYOUT)

    assert later.keys() == first.keys() and all(torch.equal(later[name], first[name]) for name in first)


def test_a_converted_file_is_not_read_after_the_layout_got_other_names_or_constants(tmp_path, tensors):
    path = save(tmp_path, tensors)
    convert(path, read_weights(path, layout=LAYOUT), LAYOUT)

    assert "pixel_mean" in read_cached_weights(path, replace(LAYOUT, constants={}))
    assert "heads.weight" in read_cached_weights(path, replace(LAYOUT, rename={}))


def test_two_tensors_cannot_get_one_name(tmp_path, tensors):
    tensors["heads.bnneck.weight"] = torch.ones(2)

    with pytest.raises(WeightsError, match=r"two of its tensors would be called 'heads\.bnneck\.weight'"):
        read_weights(save(tmp_path, tensors), layout=LAYOUT)


@pytest.mark.parametrize(
    "values, message",
    [
        ((123.675, 116.28, 103.6), r"expected pixel_mean = \[123\.675, 116\.28, 103\.53\], got \[.*103\.6\]"),
        ((103.53, 116.28, 123.675), "expected pixel_mean"),
        ((123.675,), "expected pixel_mean"),
        (None, "does not hold the tensor 'pixel_mean'"),
    ],
)
def test_a_file_with_other_constants_is_refused(tmp_path, tensors, values, message):
    tensors.pop("pixel_mean")
    if values:
        tensors["pixel_mean"] = torch.tensor(values)

    with pytest.raises(WeightsError, match=message):
        read_weights(save(tmp_path, tensors), layout=LAYOUT)


def test_one_number_is_not_a_constant_of_three_equal_numbers(tmp_path):
    path = save(tmp_path, {"weight": torch.ones(2), "pixel_std": torch.ones(1)})

    with pytest.raises(WeightsError, match=re.escape(f"{path}: expected pixel_std = [1.0, 1.0, 1.0], got [1.0]")):
        read_weights(path, layout=StateDictLayout(constants={"pixel_std": (1.0, 1.0, 1.0)}))


def test_constants_may_be_rounded_as_float32_rounds_them(tmp_path, tensors):
    tensors["pixel_mean"] = torch.tensor([0.485, 0.456, 0.406]) * 255

    assert "pixel_mean" not in read_weights(save(tmp_path, tensors), layout=LAYOUT)
