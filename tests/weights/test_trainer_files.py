"""What trainers save: objects of any class beside the weights, wrapped names, several mappings of tensors."""

import datetime
import enum
import functools
import re
import warnings
from collections import deque, namedtuple
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch
from support.hostile_files import saved, tensor_pickle, weights, zip_with
from torch import nn
from torch.optim.swa_utils import AveragedModel

from reidhub.errors import WeightsError
from reidhub.weights import read_weights
from reidhub.weights.stand_ins import STAND_INS
from reidhub.weights.unpickler import _Unpickler
from reidhub.zoo.artifact import StateDictLayout

FORMATS = {"zip": {}, "legacy": {"legacy": True}, "protocol 4": {"protocol": 4}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pth"


def same(got, want) -> bool:
    return list(got) == list(want) and all(torch.equal(got[name], want[name]) for name in want)


class Net(nn.Linear):
    """A class of a trainer's own."""


class Options(dict):
    """A mapping of a trainer's own, as of yacs or easydict."""


class Phase(enum.Enum):
    WARM_UP = 1


Split = namedtuple("Split", "train test")


def objects_of_a_trainer():
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1)
    return {
        "path": Path("/data/market1501"),
        "dates": [datetime.datetime(2020, 1, 2), datetime.timedelta(3), datetime.date(2020, 1, 2)],
        "phase": {Phase.WARM_UP: 1},
        "split": Split(1, (2, {3})),
        "options": Options(lr=0.1, nested=Options(a=[1])),
        "history": deque([1, 2]),
        "best": Decimal("0.94"),
        "pattern": re.compile("x"),
        "schedule": torch.optim.lr_scheduler.StepLR(optimizer, 3),
        "optimizer": optimizer,
        "net": Net(2, 2),
        "function": nn.functional.relu,
        "partial": functools.partial(nn.Linear, bias=False),
        "random": np.random.default_rng(1),
        "nothing": b"",
        "sparse": torch.eye(3).to_sparse(),
        "no data": torch.empty(3, device="meta"),
        "float8": torch.ones(2).to(torch.float8_e4m3fn),
    }


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("key", objects_of_a_trainer())
def test_object_of_any_class_beside_the_weights_is_ignored(file, form, key):
    file.write_bytes(saved({"state_dict": weights(), key: objects_of_a_trainer()[key]}, **FORMATS[form]))

    assert same(read_weights(file), weights())


@pytest.mark.parametrize("legacy", [False, True])
def test_quantized_tensor_beside_the_weights_is_ignored(file, legacy):
    with warnings.catch_warnings(action="ignore"):  # deprecated since PyTorch 2.14
        quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
        file.write_bytes(saved({"state_dict": weights(), "quantized": quantized}, legacy=legacy))

    assert same(read_weights(file), weights())


@pytest.mark.parametrize("made", [b"(i__main__\nConfig\n", b"(c__main__\nConfig\no", b"c__main__\nConfig\n)}\x92"])
def test_object_of_an_old_style_class_or_with_keywords_is_ignored(file, made):
    state = tensor_pickle((4,), (1,))[2:-1]
    content = b"\x80\x02}(X\x0a\x00\x00\x00state_dict" + state + b"X\x03\x00\x00\x00cfg" + made + b"}bu."
    file.write_bytes(zip_with(content, s0=bytes(64)))

    assert read_weights(file)["w"].tolist() == [0] * 4


def test_weights_in_an_object_of_a_class_are_an_error_that_names_the_class(file):
    file.write_bytes(saved({"epoch": 3, "model": Net(2, 2)}))

    with pytest.raises(WeightsError, match=r"epoch, model \(an object of the class '.*Net'\)") as caught:
        read_weights(file)
    assert "state_dict()" in caught.value.hint


def test_tensor_with_attributes_is_read(file):
    tensor = torch.arange(3.0)
    tensor.origin = "a trainer"
    file.write_bytes(saved({"w": tensor}))

    assert same(read_weights(file), {"w": torch.arange(3.0)})


NAMES = ["torch FloatStorage", "torch._utils _rebuild_tensor_v2", "collections OrderedDict", "numpy dtype", "x Y"]
STATES = [
    b"ctorch\nfloat64\n\x85",
    b"}X\x01\x00\x00\x00aN\x73",
    b"N}X\x0c\x00\x00\x00__defaults__)\x73\x86",
    b"N}X\x05\x00\x00\x00dtypectorch\nfloat64\n\x73\x86",
]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", NAMES)
def test_no_file_changes_how_later_files_are_read(file, name, state):
    changed = b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n" + state + b"b0}."
    file.write_bytes(zip_with(changed))
    with pytest.raises(WeightsError):
        read_weights(file)

    file.write_bytes(saved(weights()))

    assert same(read_weights(file), weights())
    for stand_in in (*STAND_INS.values(), _Unpickler._make_mapping):
        assert not getattr(stand_in, "__dict__", {}).keys() & {"a", "__defaults__"}


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module._orig_mod."])
def test_prefix_of_compiled_models_is_removed(file, prefix):
    file.write_bytes(saved({prefix + name: tensor for name, tensor in weights().items()}))

    assert same(read_weights(file), weights())


def test_averaged_model_is_read_without_its_count(file):
    averaged = AveragedModel(nn.Linear(2, 3))
    file.write_bytes(saved({"state_dict": averaged.state_dict()}))

    assert same(read_weights(file), averaged.module.state_dict())


def test_several_mappings_of_tensors_are_an_error_that_says_how_to_choose(file):
    file.write_bytes(saved({"center": {"centers": torch.ones(2)}, "net": weights(), "net_ema": weights()}))

    with pytest.raises(WeightsError, match="several mappings of tensors: center, net, net_ema") as caught:
        read_weights(file)

    assert "layout: {root: net}" in caught.value.hint and "StateDictLayout(root='net')" in caught.value.hint
    assert same(read_weights(file, layout=StateDictLayout(root="net")), weights())


@pytest.mark.parametrize("others", [("model_ema",), ("ema", "loss")])
@pytest.mark.parametrize("root", ["state_dict", "model"])
def test_trained_weights_are_read_although_averaged_ones_lie_beside_them(file, root, others):
    file.write_bytes(saved({**{key: {"w": torch.ones(2)} for key in others}, root: weights()}))

    assert same(read_weights(file), weights())


@pytest.mark.parametrize("root", [None, "net"])
def test_layout_says_which_names_to_skip(file, root):
    more = {"centers": torch.ones(2), "loss.w": torch.ones(1), "loss.b.c": torch.ones(1), "epoch": 3, **weights()}
    file.write_bytes(saved({"net": more}))

    assert same(read_weights(file, layout=StateDictLayout(root=root, skip=("centers", "loss.", "epoch"))), weights())


def test_one_mapping_under_many_keys_is_read_once(file):
    state = dict(weights())
    file.write_bytes(saved({f"copy {n}": state for n in range(1000)}))

    assert same(read_weights(file), weights())


def test_program_of_torchscript_is_called_so_although_its_code_is_compressed(file):
    with warnings.catch_warnings(action="ignore"):  # TorchScript is deprecated
        torch.jit.save(torch.jit.trace(nn.Linear(2, 3).eval(), torch.ones(1, 2)), file)

    with pytest.raises(WeightsError, match="TorchScript program"):
        read_weights(file)
