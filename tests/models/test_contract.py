"""All architectures, one set of checks: the contract of the published files, and what callers do with a model."""

import copy
import pickle
from dataclasses import dataclass

import pytest
import torch
import torch.fx
from support.architectures import EVERY, KINDS, MGN, list_architectures
from support.contract import FEATURES, LAYOUTS, contract_model, count_contract_classes, input_batch
from torch import Tensor, nn

from reidhub.models import ARCHITECTURES, build
from reidhub.models.base import ReidModel

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
WITH_MGN = list_architectures(short=(*KINDS, MGN))
PUBLISHED = [name for name in ARCHITECTURES if name in FEATURES]
FLOAT32 = 1e-4  # the contract's own bound on a float32 implementation
FASTREID_FLOAT32 = 1e-5  # the bound of the contract of fast-reid's architectures
FLOAT64 = 1e-9  # rounding of 1.1e-16, magnified some thousand times by mlfn; far below any dependence that matters


@dataclass(frozen=True)
class Case:
    """One architecture with the contract's weights and images, and what the published definition gives for them.

    If no definition is published, the embedding is that of the model itself in double precision.
    """

    name: str
    model: ReidModel
    images: Tensor
    embedding: Tensor
    logits: Tensor | None

    @property
    def float32(self) -> float:
        """Bound on the error of the embedding in single precision."""
        return FASTREID_FLOAT32 if self.name.startswith("fastreid_") else FLOAT32

    @property
    def small(self) -> Tensor:
        """Images as small as the architecture takes them, for tests of the graph rather than of the values.

        At 64x32, oneDNN's bfloat16 kernel for AMX computes stride-2 convolutions of tiny maps (4x2) wrongly,
        always in ResNets (error 50 %) and at times in MLFN; at 128x64 they are right.
        """
        height = 128 if self.name.startswith(("resnet", "mlfn", "fastreid_")) else 64
        return self.images if self.name == "hacnn" else self.images[:, :, :height, : height // 2].contiguous()


@pytest.fixture(scope="module", params=EVERY)
def case(request: pytest.FixtureRequest) -> Case:
    """In eval mode; a test that changes the model takes a copy."""
    name = request.param
    model = contract_model(name)
    logits = torch.from_numpy(FEATURES[f"{name}.logits"]) if f"{name}.logits" in FEATURES else None
    images = torch.from_numpy(input_batch(*model.input_size))
    embedding = torch.from_numpy(FEATURES[name]) if name in FEATURES else embed_exactly(model, images)
    return Case(name, model, images, embedding, logits)


@pytest.fixture(params=ARCHITECTURES)
def name(request: pytest.FixtureRequest) -> str:
    """Of every architecture, for tests that need no weights."""
    return request.param


@torch.no_grad()
def embed(model: nn.Module, images: Tensor) -> Tensor:
    return model(images)


def embed_exactly(model: nn.Module, images: Tensor) -> Tensor:
    return embed(copy.deepcopy(model).double(), images.double())


def error(got: Tensor, want: Tensor) -> float:
    """Relative, over the whole batch."""
    return ((got.double() - want.double()).norm() / want.double().norm()).item()


def test_keys_shapes_and_their_order_are_the_published_ones(name):
    layout = {
        key: list(tensor.shape)
        for key, tensor in build(name, count_contract_classes(name), device="meta").state_dict().items()
    }

    assert list(layout.items()) == list(LAYOUTS[name].items())


def test_number_of_classes_changes_the_classifier_alone(name):
    layout = {key: list(tensor.shape) for key, tensor in build(name, 702, device="meta").state_dict().items()}

    changed = {key for key, shape in layout.items() if shape != LAYOUTS[name][key]}
    assert changed == {key for key in layout if "classifier" in key}
    assert all(layout[key][0] == 702 for key in changed)


@pytest.mark.parametrize("case", PUBLISHED, indirect=True)
def test_embedding_is_the_published_one(case):
    embedding = embed(case.model, case.images)

    assert embedding.shape == (2, case.model.embedding_dim)
    assert error(embedding, case.embedding) < case.float32


@pytest.mark.parametrize("case", WITH_MGN, indirect=True)
@torch.no_grad()
def test_logits_are_the_published_ones(case):
    logits = case.model.classify(case.embedding.float())

    if case.logits is not None:
        assert error(logits, case.logits) < FLOAT32
        return
    classifiers = [key for key in LAYOUTS[case.name] if "classifier" in key and key.endswith(".weight")]
    parts = logits if isinstance(logits, tuple) else (logits,)
    assert [part.shape for part in parts] == [(2, count_contract_classes(case.name))] * len(classifiers)


def test_double_precision_gives_the_published_embedding_to_its_last_digits(case):
    embedding = embed_exactly(case.model, case.images)

    assert error(embedding, case.embedding) < (FLOAT32 if case.name == "hacnn" else FLOAT64)


@pytest.mark.parametrize("tag, classes", [("imagenet", 1000), ("market1501", 751), ("msmt17", 1041)])
def test_real_files_load_strictly(real_weights, tag, classes):
    model = build("osnet_x0_25", classes, init=False).eval()

    model.load_state_dict(torch.load(real_weights / f"osnet_x0_25_{tag}.pth", weights_only=True), strict=True)

    embedding = embed(model, torch.from_numpy(input_batch(256, 128)))
    assert embedding.isfinite().all()
    assert (embedding >= 0).all() and (embedding > 0).any()  # behind a ReLU


def test_same_images_give_the_same_bits(case):
    assert torch.equal(embed(case.model, case.images), embed(case.model, case.images))


def test_what_else_is_in_the_batch_changes_no_bit(case):
    other = torch.stack((case.images[0], 50 * torch.ones_like(case.images[1])))

    assert torch.equal(embed(case.model, other)[0], embed(case.model, case.images)[0])


def test_batch_size_changes_the_rounding_alone(case):
    """Kernels sum in another order for another batch size, so bits may differ; in double precision, only the last."""
    exact = copy.deepcopy(case.model).double()
    three = torch.cat((case.images, case.images[:1]))

    assert error(embed(exact, three[2:].double()), embed(exact, three.double())[2:]) < FLOAT64
    for images in (three, three[2:]):
        assert error(embed(case.model, images)[-1], case.embedding[0]) < case.float32


@pytest.mark.parametrize("weights_too", [False, True])
def test_channels_last_images_give_the_same_embedding(case, weights_too):
    model = case.model
    if weights_too:
        model = copy.deepcopy(model).to(memory_format=torch.channels_last)

    embedding = embed(model, case.images.to(memory_format=torch.channels_last))

    assert error(embedding, case.embedding) < case.float32


def test_inference_mode_gives_the_same_bits(case):
    with torch.inference_mode():
        embedding = case.model(case.images)

    assert embedding.is_inference()
    assert torch.equal(embedding, embed(case.model, case.images))


def test_copies_and_pickles_give_the_same_bits(case):
    want = embed(case.model, case.images)

    assert torch.equal(embed(copy.deepcopy(case.model), case.images), want)
    assert torch.equal(embed(pickle.loads(pickle.dumps(case.model)), case.images), want)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
def test_autocast_is_off_by_no_more_than_its_precision_makes_likely(case, device):
    """Random weights magnify rounding, mlfn's the most; rounding weights and images alone shows by how much."""
    exact, rounded = copy.deepcopy(case.model).double(), copy.deepcopy(case.model)
    for tensor in rounded.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.bfloat16())
    want = embed(exact, case.small.double())
    unavoidable = error(embed(rounded.double(), case.small.bfloat16().double()), want)

    with torch.autocast(device, torch.bfloat16):
        embedding = embed(copy.deepcopy(case.model).to(device), case.small.to(device)).cpu()

    assert error(embedding, want) < 2 * unavoidable < 1


@NEEDS_GPU
def test_gpu_gives_the_published_embedding(case):
    with torch.backends.cudnn.flags(allow_tf32=False):
        embedding = embed(copy.deepcopy(case.model).cuda(), case.images.cuda()).cpu()

    assert error(embedding, case.embedding) < case.float32


@pytest.mark.parametrize("case", WITH_MGN, indirect=True)
def test_traced_graph_gives_the_same_bits(case):
    """What folds normalisations into convolutions works on such a graph."""
    traced = torch.fx.symbolic_trace(case.model)

    assert torch.equal(embed(traced, case.small), embed(case.model, case.small))


@pytest.mark.long  # `test_export.py` has its short form
def test_export_leaves_the_batch_size_open(case):
    dynamic = {"images": {0: torch.export.Dim("n", min=1, max=64)}}
    exported = torch.export.export(case.model, (case.small,), dynamic_shapes=dynamic).module()

    five = torch.cat((case.small, case.small, case.small[:1]))

    assert error(embed(exported, five)[:2], embed(case.model, case.small)) < case.float32


@pytest.mark.parametrize("case", list_architectures(short=["osnet_x0_25"]), indirect=True)  # hacnn takes 15 s
def test_compiler_takes_the_model_in_one_graph(case):
    torch.compiler.reset()
    compiled = torch.compile(case.model, backend="aot_eager", fullgraph=True)

    assert error(embed(compiled, case.small), embed(case.model, case.small)) < case.float32


@pytest.mark.long
def test_compiled_code_gives_the_published_embedding(case):
    torch.compiler.reset()
    compiled = torch.compile(case.model, fullgraph=True)

    assert error(embed(compiled, case.images), case.embedding) < case.float32


@torch.no_grad()
def test_feature_maps_still_have_a_place(case):
    maps = case.model.feature_maps(case.images)

    stride = 32 if maps.shape[2] * 32 == case.images.shape[2] else 16
    assert maps.shape[2:] == (case.images.shape[2] // stride, case.images.shape[3] // stride)
    assert (maps.std((2, 3)) > 0).any()


def test_eval_mode_leaves_the_state_as_it_is(case):
    before = {key: tensor.clone() for key, tensor in case.model.state_dict().items()}

    embed(case.model, case.images)

    assert all(torch.equal(before[key], tensor) for key, tensor in case.model.state_dict().items())


@pytest.mark.parametrize("case", WITH_MGN, indirect=True)
def test_shapes_alone_are_enough_to_be_filled_by_assignment(case):
    parameters = dict(case.model.named_parameters(remove_duplicate=False))
    tensors = {**parameters, **dict(case.model.named_buffers(remove_duplicate=False))}

    assert {tensor.device.type for tensor in tensors.values()} == {"cpu"}
    assert tensors.keys() == LAYOUTS[case.name].keys()  # no buffer outside the state dict that a file could not fill
    assert all(p.requires_grad != name.endswith("bnneck.bias") for name, p in parameters.items())
