"""Models in the formats of others: traced, scripted, as ONNX, and as graphs for training."""

import copy
import warnings
from collections.abc import Iterator

import pytest
import torch
import torch.fx
from support.contract import contract_model, input_batch
from torch import Tensor

from reidhub.errors import UsageError
from reidhub.models import ARCHITECTURES, build
from reidhub.models.base import ReidModel

SHORT = "shufflenet"  # the fastest to trace
NAMES = [SHORT, *(pytest.param(name, marks=pytest.mark.long) for name in ARCHITECTURES if name != SHORT)]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Of a small architecture; with ``--long``, of every architecture."""
    return request.param


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


def test_trace_gives_the_same_embeddings_for_other_batch_sizes(name):
    model = contract_model(name)

    traced = torch.jit.trace(model, images_for(model, 2), check_trace=False)

    assert relative_error(traced(images_for(model, 3)), model(images_for(model, 3))) < 1e-5


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_graph_of_either_mode_gives_the_same(name, mode):
    torch.manual_seed(0)
    model = build(name, 5).train(mode == "train")
    images = images_for(model, 3)

    got, want = torch.fx.symbolic_trace(model)(images), model(images)

    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_script_gives_the_same_as_the_model_in_its_mode(name, mode):
    if name == "hacnn":
        pytest.skip("TorchScript cannot compile it")
    torch.manual_seed(0)
    model = build(name, 5).train(mode == "train")
    images = images_for(model, 3)

    assert torch.equal(torch.jit.script(model)(images), model(images))
    assert isinstance(model, ReidModel) and model.training == (mode == "train")


def test_script_of_hacnn_is_an_error_that_says_what_to_use():
    with pytest.raises(UsageError, match="cannot compile hacnn") as caught:
        torch.jit.script(torch.nn.Sequential(build("hacnn", 5, init=False)))

    assert "torch.jit.trace" in caught.value.hint


def test_onnx_without_dynamo_gives_the_same_embeddings_for_other_batch_sizes(name, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, path = contract_model(name), tmp_path / "model.onnx"

    torch.onnx.export(
        model,
        (images_for(model, 2),),
        path,
        dynamo=False,
        opset_version=17,
        input_names=["images"],
        output_names=["embedding"],
        dynamic_axes={"images": {0: "n"}, "embedding": {0: "n"}},
    )

    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"images": images_for(model, 3).numpy()})
    want = model(images_for(model, 3))
    exact = copy.deepcopy(model).double()(images_for(model, 3).double())
    assert relative_error(torch.from_numpy(got), exact) < 1e-4 + relative_error(want, exact)
