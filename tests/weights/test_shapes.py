"""Shapes, strides and sizes in a file: tensors come back in the usual form, and claims that are not true are errors."""

import json
import math
import pickle
import struct
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from support.hostile_files import MAGIC, PROTOCOL, SYSTEM, legacy_with, saved, tensor_pickle, zip_with

from reidhub.errors import WeightsError
from reidhub.files.digest import Digest
from reidhub.models import build
from reidhub.weights import convert, load_weights, read_cached_weights, read_weights
from reidhub.zoo.artifact import StateDictLayout


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pth"


def usual_strides(tensor):
    return torch.empty(tensor.shape).stride()


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_have_the_usual_strides_although_a_dimension_of_one_may_have_any(file, legacy):
    odd = {
        "1 x 1 convolution": torch.rand(12).as_strided((4, 3, 1, 1), (3, 1, 3, 3)),
        "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "column": torch.rand(5).as_strided((5, 1), (1, 5)),
        "one element": torch.rand(4, 4)[:1, :1],
        "array": np.asfortranarray(np.ones((3, 1, 2, 1))),
    }
    assert all(odd[name].stride() != usual_strides(odd[name]) for name in odd if name != "array")
    file.write_bytes(saved(odd, legacy=legacy))

    got = read_weights(file)

    assert {name: tensor.stride() for name, tensor in got.items()} == {n: usual_strides(t) for n, t in got.items()}
    assert all(torch.equal(got[name], torch.as_tensor(tensor)) for name, tensor in odd.items())
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in got.values())


def test_first_and_later_loads_compute_the_same_bits(file):
    torch.manual_seed(1)
    state = build("osnet_x0_25", 2).to(memory_format=torch.channels_last).state_dict()
    content = saved(state)
    path = file.with_name(f"{Digest.of_bytes(content)}.pth")
    path.write_bytes(content)

    first = read_cached_weights(path, StateDictLayout())
    convert(path, first, StateDictLayout())
    later = read_cached_weights(path, StateDictLayout())

    embeddings = []
    for tensors in (first, later):
        model = build("osnet_x0_25", 2).eval()
        load_weights(model, tensors, what="test")
        embeddings.append(model(torch.ones(1, 3, 64, 32).cumsum(3)))
    assert torch.equal(*embeddings)
    assert [t.stride() for t in first.values()] == [later[name].stride() for name in first]


def test_storage_that_claims_more_than_its_record_holds_is_damaged(file):
    file.write_bytes(zip_with(tensor_pickle((4,), (1,), numel=17), s0=bytes(64)))
    with pytest.raises(WeightsError, match="bytes of storage '0' are missing, or too few"):
        read_weights(file)

    file.write_bytes(zip_with(tensor_pickle((4,), (1,), numel=16), s0=bytes(64)))
    assert read_weights(file)["w"].tolist() == [0] * 4


def test_legacy_storage_that_claims_more_than_the_file_says_is_damaged(file):
    three = [pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, SYSTEM)]
    rest = struct.pack("<q", 16) + bytes(64)
    for claimed, outcome in ((17, pytest.raises(WeightsError, match="missing, or too few")), (16, nullcontext())):
        pickled = tensor_pickle((4,), (1,), numel=claimed)
        file.write_bytes(legacy_with(*three, pickled, pickle.dumps(["0"], 2), rest=rest))
        with outcome:
            assert read_weights(file)["w"].tolist() == [0] * 4


def describe(name: object, shape: list[int]) -> str:
    return json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * math.prod(shape)]}})[1:-1]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (describe("w", [1] * 20_000), "20000 dimensions"),
        (",".join(describe(n, [0]) for n in range(60_000)), "60000 tensors; at most 50000 are read"),
        (describe("w", [1] * 1_100_000), "header is longer than that of 50000 tensors"),
    ],
    ids=["rank", "names", "values"],
)
def test_safetensors_header_of_too_many_names_or_dimensions_is_refused_early(file, entries, said):
    header = f"{{{entries}}}".encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + (b"" if "60000" in said else bytes(4)))
    before = time.process_time()

    with pytest.raises(WeightsError, match=said):
        read_weights(file)
    assert time.process_time() - before < 2
