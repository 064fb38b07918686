"""Weights out of files of every format and age: the same tensors as were written, or an error in words."""

import argparse
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.hostile_files import saved, weights
from support.paths import shared
from torch import nn

import reidhub
from reidhub.errors import StateDictError, WeightsError
from reidhub.models import build
from reidhub.weights import CLASSIFIER, count_classes, load_backbone, load_weights, read_weights
from reidhub.zoo.artifact import StateDictLayout

FORMATS = {
    "zip": {},
    "legacy": {"legacy": True},
    "protocol 4": {"protocol": 4},
    "legacy 4": {"legacy": True, "protocol": 4},
}


def same(got, want) -> bool:
    return list(got) == list(want) and all(
        torch.equal(got[name], want[name]) and got[name].dtype == want[name].dtype for name in want
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pth"


@pytest.mark.parametrize("form", FORMATS)
def test_tensors_come_back_as_they_were_written(file, form):
    file.write_bytes(saved(weights(), **FORMATS[form]))

    assert same(read_weights(file), weights())


def test_safetensors_are_read_as_well(file):
    save_file(weights(), file)

    assert same(dict(sorted(read_weights(file).items())), dict(sorted(weights().items())))


def test_safetensors_of_every_type_and_of_no_elements_are_read(file):
    kinds = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    written = {kind: torch.arange(3).to(getattr(torch, kind)) for kind in kinds}
    written |= {"none": torch.empty(0, 4), "one": torch.tensor(7)}
    save_file(written, file)

    assert same(dict(sorted(read_weights(file).items())), dict(sorted(written.items())))


def test_safetensors_of_a_type_that_no_weights_have_are_refused(file):
    save_file({"w": torch.zeros(3, dtype=torch.complex64)}, file)

    with pytest.raises(WeightsError, match="'w' is of the type C64"):
        read_weights(file)


@pytest.mark.parametrize("form", FORMATS)
def test_what_lies_beside_the_weights_is_ignored(file, form):
    model = nn.Linear(2, 3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    beside = {
        "epoch": 60,
        "rank1": np.float64(0.94),
        "cmc": np.linspace(0, 1, 5, dtype=np.float32),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "args": argparse.Namespace(arch="osnet", lr=0.1),
        "seen": {1, 2, 3},
        "counts": Counter("aab"),
        "lists": defaultdict(list, {"a": [1]}),
        "device": torch.device("cpu"),
        "nothing": None,
    }
    file.write_bytes(saved({"state_dict": weights(), **beside}, **FORMATS[form]))

    assert same(read_weights(file), weights())


@pytest.mark.parametrize("root", ["state_dict", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
def test_nesting_and_prefixes_are_taken_off(file, root, prefix):
    file.write_bytes(saved({root: {prefix + name: tensor for name, tensor in weights().items()}, "epoch": 3}))

    assert same(read_weights(file), weights())


def test_state_dict_wins_over_other_mappings_of_tensors(file):
    file.write_bytes(saved({"ema": {"w": torch.zeros(2)}, "state_dict": weights()}))

    assert same(read_weights(file), weights())


def test_layout_says_where_the_tensors_lie(file):
    file.write_bytes(
        saved({"ema": {"x." + name: t for name, t in weights().items()}, "state_dict": {"w": torch.ones(1)}})
    )

    assert same(read_weights(file, layout=StateDictLayout(root="ema", strip_prefix="x.")), weights())


@pytest.mark.parametrize(
    "layout", [StateDictLayout(root="net"), StateDictLayout(root=""), StateDictLayout(strip_prefix="module.")]
)
def test_layout_that_is_not_the_files_is_an_error(file, layout):
    file.write_bytes(saved({"state_dict": weights()}))

    with pytest.raises(WeightsError, match="expected names"):
        read_weights(file, layout=layout)


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_of_every_kind_come_back(file, legacy):
    base = torch.arange(24, dtype=torch.float32)
    kinds = {
        **{str(d): torch.ones(3, dtype=d) for d in (torch.float64, torch.float16, torch.bfloat16, torch.int64)},
        **{str(d): torch.ones(3, dtype=d) for d in (torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)},
        "a number": torch.tensor(3.5),
        "empty": torch.empty(0, 4),
        "transposed": base.view(4, 6).T,
        "a part": base.view(4, 6)[1:3, ::2],
        "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "tied": base,
        "tied too": base,
        "parameter": nn.Parameter(torch.ones(2)),
    }
    file.write_bytes(saved(kinds, legacy=legacy))

    got = read_weights(file)

    assert same(got, kinds)
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in got.values())


def test_tensors_share_no_memory_with_each_other(file):
    base = torch.zeros(4)
    file.write_bytes(saved({"a": base, "b": base[:2]}))

    got = read_weights(file)
    got["a"].fill_(1)

    assert got["b"].tolist() == [0, 0]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<i8", "u1", "?", "<f2"])
def test_arrays_of_numpy_become_tensors(file, form, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    file.write_bytes(
        saved({"state_dict": {"w": array, "f": np.asfortranarray(array), "n": np.array(4, dtype)}}, **FORMATS[form])
    )

    got = read_weights(file)

    native = array.astype(array.dtype.newbyteorder("="))
    assert same(got, {"w": torch.tensor(native), "f": torch.tensor(native), "n": torch.tensor(native.dtype.type(4))})


OLD_FILES = [
    "py27_nparray",
    "py27_npscalar",
    "py27_npsched",
    "py27_plain",
    "t101_npsched",
    "t171_npscalar",
    "t213_npscalar",
]


@pytest.mark.parametrize("name", [*OLD_FILES, "t213_legacyflag"])
def test_files_of_old_versions_are_read(name):
    got = read_weights(shared("checkpoint_files") / f"{name}.pth.tar")

    assert {key.partition(".")[0] for key in got} == {"conv", "bn", "fc", "cls"}
    assert got["conv.weight"].shape[1:] == (3, 3, 3) and got["conv.weight"].dtype == torch.float32
    assert got["bn.num_batches_tracked"].dtype == torch.int64


def test_whole_module_of_the_published_kind_is_refused_in_words():
    with pytest.raises(WeightsError, match=r"wholemodule.*class '__main__.Net'.*\n.*state dict alone"):
        read_weights(shared("checkpoint_files") / "t213_wholemodule.pth.tar")


def test_real_files_are_read_as_torch_reads_them(real_weights):
    for path in sorted(real_weights.glob("*.pth")):
        assert same(read_weights(path), torch.load(path, weights_only=True))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_cut_anywhere_is_an_error(file, legacy):
    whole = saved(weights(), legacy=legacy)

    for length in range(0, len(whole), 37):
        file.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            read_weights(file)


def test_a_legacy_file_cut_within_its_tensors_is_called_cut_short(file):
    whole = saved(weights(), legacy=True)
    file.write_bytes(whole[:-40])

    with pytest.raises(WeightsError, match=f"cut short.*{len(whole) - 40} bytes"):
        read_weights(file)


def test_a_bit_that_flips_in_a_zip_is_noticed_or_changes_nothing(file):
    whole = bytearray(saved(weights()))

    for place in range(0, len(whole), 23):
        whole[place] ^= 16
        file.write_bytes(whole)
        with suppress(WeightsError):
            assert same(read_weights(file), weights())
        whole[place] ^= 16


def test_a_bit_that_flips_in_a_legacy_file_never_ends_in_another_error(file):
    whole = bytearray(saved(weights(), legacy=True))

    for place in range(0, len(whole), 7):
        whole[place] ^= 8
        file.write_bytes(whole)
        with suppress(WeightsError):
            read_weights(file)
        whole[place] ^= 8


@pytest.mark.parametrize("path", ["missing.pth", "."])
def test_a_path_that_cannot_be_read_is_an_error_of_ours(tmp_path, path):
    with pytest.raises(reidhub.ReidhubError, match="cannot be read"):
        read_weights(tmp_path / path)


def test_text_of_a_file_cannot_move_the_cursor_of_a_terminal(file):
    file.write_bytes(saved({"\x1b[2J": 3, "\x07": {"\x1b": 1}}))

    with pytest.raises(WeightsError) as caught:
        read_weights(file)

    assert "\x1b" not in str(caught.value) and "\x07" not in str(caught.value)


def test_eight_threads_read_at_once(file):
    file.write_bytes(saved({"state_dict": weights(), "rank1": np.float64(1), "args": argparse.Namespace(a=1)}))

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: same(read_weights(file), weights()), range(200)))

    assert results == [True] * 200


def test_nothing_is_imported_because_a_file_names_it(file):
    file.write_bytes(saved({"state_dict": weights(), "x": argparse.Namespace(a=np.float64(2))}))
    code = f"""
import sys
from reidhub import read_weights
before = set(sys.modules)
read_weights({str(file)!r})
sys.exit("argparse" in set(sys.modules) - before)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_model_takes_its_weights_and_nothing_else():
    tensors = build("osnet_x0_25", 5).state_dict()
    model = build("osnet_x0_25", 5, device="meta")

    load_weights(model, tensors, what="osnet_x0_25.test")

    assert same(model.state_dict(), tensors)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_weights_go_to_the_device_and_dtype_of_the_model():
    tensors = {name: tensor.double() for name, tensor in build("osnet_x0_25", 5).state_dict().items()}
    model = build("osnet_x0_25", 5)

    load_weights(model, tensors, what="test")

    assert model.conv1.conv.weight.dtype == torch.float32
    assert model.conv1.bn.num_batches_tracked.dtype == torch.int64


def test_counts_that_old_torch_did_not_write_may_be_missing():
    tensors = {n: t for n, t in build("osnet_x0_25", 5).state_dict().items() if not n.endswith("num_batches_tracked")}
    model = build("osnet_x0_25", 5, device="meta")

    load_weights(model, tensors, what="test")

    assert model.conv1.bn.num_batches_tracked == 0


def test_what_does_not_fit_is_listed():
    tensors = build("osnet_x0_25", 751).state_dict()
    tensors["head.weight"] = torch.zeros(751, 512)
    del tensors["conv1.conv.weight"]
    model = build("osnet_x0_25", 1041)

    with pytest.raises(StateDictError) as caught:
        load_weights(model, tensors, what="osnet_x0_25.msmt17")

    lines = str(caught.value).splitlines()
    assert lines[0] == "osnet_x0_25.msmt17: 4 of 568 tensors do not fit"
    assert lines[1].split() == ["missing", "conv1.conv.weight", "(16,", "3,", "7,", "7)"]
    assert lines[2].split() == ["unexpected", "head.weight", "(751,", "512)"]
    assert "expected (1041, 512), got (751, 512)" in lines[3]
    assert lines[-1].startswith("hint:")


def test_classifier_below_other_parts_of_a_model_is_left_out_of_the_backbone(caplog):
    def make(classes: int) -> nn.Module:
        return nn.ModuleDict({"body": nn.Linear(3, 3), "b1_head": nn.ModuleDict({"classifier": nn.Linear(3, classes)})})

    model, given = make(5), make(2).state_dict()
    own = model["b1_head"]["classifier"].weight.clone()

    load_backbone(model, given, what="test", head=(CLASSIFIER,))

    assert torch.equal(model["body"].weight, given["body.weight"])
    assert torch.equal(model["b1_head"]["classifier"].weight, own)
    assert "left out b1_head.classifier.weight (2, 3)" in caplog.text


def test_a_model_that_does_not_fit_is_left_as_it_was():
    model = build("osnet_x0_25", 3)
    before = OrderedDict((name, tensor.clone()) for name, tensor in model.state_dict().items())

    with pytest.raises(StateDictError):
        load_weights(model, build("osnet_x0_25", 4).state_dict(), what="test")

    assert same(model.state_dict(), before)


@pytest.mark.parametrize("name", ["osnet_x0_25", "hacnn", "resnet50", "fastreid_bot_r50", "fastreid_mgn_r50_ibn"])
def test_classes_are_counted_from_the_classifier(name):
    assert count_classes(build(name, 702, device="meta").state_dict()) == 702
    assert count_classes({"w": torch.ones(2)}) is None
