"""Models in the formats of others: traced, scripted, exported, as ONNX, and as graphs for training."""

import copy
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.fx
from support.architectures import list_architectures
from support.contract import contract_model, input_batch
from torch import Tensor

from reidhub.errors import UsageError
from reidhub.models import ARCHITECTURES, build
from reidhub.models.base import ReidModel

FASTEST = "shufflenet"
SMALL = (FASTEST, "hacnn", "osnet_ain_x0_25")  # of different kinds
NAMES = list_architectures(short=[FASTEST])

Run = Callable[[Tensor], Tensor]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """TorchScript is deprecated, and warns of everything that a trace fixes."""
    with warnings.catch_warnings(action="ignore"), torch.no_grad(), torch.jit.optimized_execution(False):
        yield


def images_for(model: ReidModel, count: int) -> Tensor:
    height, width = model.input_size if type(model).__name__ == "HACNN" else (64, 32)
    images = torch.from_numpy(input_batch(*model.input_size))[:, :, :height, :width]
    return images.repeat(2, 1, 1, 1)[:count].contiguous()


def relative_error(got: Tensor, want: Tensor) -> float:
    return float((got.double() - want.double()).norm() / want.double().norm())


def trace(model: ReidModel, images: Tensor, _: Path) -> Run:
    return torch.jit.trace(model, images, check_trace=False)


def script(model: ReidModel, *_: Any) -> Run:
    return torch.jit.script(model)


def export(model: ReidModel, images: Tensor, _: Path) -> Run:
    shapes = ({0: torch.export.Dim("batch")},)
    return torch.export.export(model, (images,), dynamic_shapes=shapes).module()


def export_onnx(model: ReidModel, images: Tensor, path: Path, **options: Any) -> Run:
    runtime = pytest.importorskip("onnxruntime")
    names = {"input_names": ["images"], "output_names": ["embeddings"]}
    torch.onnx.export(model, (images,), path, **names, **options)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def export_onnx_without_dynamo(model: ReidModel, images: Tensor, path: Path) -> Run:
    pytest.importorskip("onnx")
    axes = {"images": {0: "batch"}, "embeddings": {0: "batch"}}
    return export_onnx(model, images, path, dynamo=False, opset_version=17, dynamic_axes=axes)


def export_onnx_with_dynamo(model: ReidModel, images: Tensor, path: Path) -> Run:
    pytest.importorskip("onnxscript")
    shapes = ({0: torch.export.Dim("batch")},)
    return export_onnx(model, images, path, dynamo=True, verbose=False, dynamic_shapes=shapes)


WAYS = {
    "torch.jit.trace": trace,
    "torch.jit.script": script,
    "torch.export": export,
    "torch.onnx without dynamo": export_onnx_without_dynamo,
    "torch.onnx with dynamo": export_onnx_with_dynamo,
}
SLOW = "torch.onnx with dynamo"
"""A way that takes 7 to 30 s, so it needs ``--long``. The tests of `reidhub.export` use it without."""


@pytest.mark.parametrize(
    ("way", "name"),
    [
        pytest.param(way, name, marks=() if name in SMALL and way != SLOW else pytest.mark.long)
        for way in WAYS
        for name in ARCHITECTURES
        if (way, name) != ("torch.jit.script", "hacnn")  # an error, which has a test of its own
    ],
)
def test_usual_way_gives_the_same_embeddings_for_other_batch_sizes(way, name, tmp_path):
    model = contract_model(name)

    run = WAYS[way](model, images_for(model, 2), tmp_path / "model.onnx")

    for count in (1, 3):
        images = images_for(model, count)
        got, want = run(images), model(images)
        if way.startswith("torch.onnx"):
            exact = copy.deepcopy(model).double()(images.double())
            limit = 1e-4 if name == "osnet_x1_0" else 1e-5  # its weights here magnify rounding: 3e-5 in torch itself
            assert relative_error(got, exact) < limit + relative_error(want, exact)
        else:
            assert torch.equal(got, want)
    assert isinstance(model, ReidModel) and not model.training  # as before


def test_script_of_hacnn_is_an_error_that_says_what_to_use():
    with pytest.raises(UsageError, match="cannot compile hacnn") as caught:
        torch.jit.script(torch.nn.Sequential(build("hacnn", 5, init=False)))

    assert "torch.jit.trace" in caught.value.hint


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", NAMES)
def test_graph_of_either_mode_gives_the_same(name, mode):
    torch.manual_seed(0)
    model = build(name, 5).train(mode == "train")
    images = images_for(model, 3)

    got, want = torch.fx.symbolic_trace(model)(images), model(images)

    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("name", NAMES)
def test_script_in_train_mode_gives_the_same_as_the_model(name):
    if name == "hacnn":
        pytest.skip("TorchScript cannot compile it")
    torch.manual_seed(0)
    model = build(name, 5).train()
    images = images_for(model, 3)

    logits, want = torch.jit.script(model)(images), model(images)
    assert torch.equal(torch.stack(tuple(logits)), torch.stack(tuple(want)))
    assert isinstance(model, ReidModel) and model.training
