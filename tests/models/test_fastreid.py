"""What only fast-reid's architectures have: the contract's other figures, their necks, poolings and attention."""

import pytest
import torch
from support.contract import DILATED, FEATURES, contract_model, input_batch
from torch import Tensor, nn

from reidhub.models import build
from reidhub.models.fastreid import GeM, NonLocal
from reidhub.models.mgn import PARTS

FLOAT32 = 1e-5  # the contract's own bound on a float32 implementation
SHORT = ("fastreid_sbs_r50_ibn@256x256",)
POOLED = [
    pytest.param(key, marks=() if key in SHORT else pytest.mark.long)
    for key in (name.removesuffix(".pooled") for name in FEATURES if name.endswith(".pooled"))
]


def error(got: Tensor, key: str) -> float:
    """Relative distance to a reference of the contract, over the whole batch."""
    want = torch.from_numpy(FEATURES[key])
    return ((got.double() - want).norm() / want.norm()).item()


@pytest.mark.parametrize("key", POOLED)
@torch.no_grad()
def test_features_before_and_after_the_neck_are_the_published_ones(key):
    name, _, other = key.partition("@")
    model = contract_model(name)
    images = torch.from_numpy(input_batch(*((256, 256) if other else model.input_size)))

    pooled = model.heads.pool_layer(model.feature_maps(images)).flatten(1)

    assert error(pooled, f"{key}.pooled") < FLOAT32
    assert error(model.heads.bnneck(pooled), key) < FLOAT32


@torch.no_grad()
def test_dilated_network_without_its_dilation_is_the_published_one():
    """At an exponent of 1, generalised mean pooling is the average pooling of ``fastreid_bot_s50``."""
    weights = contract_model("fastreid_bot_s50").state_dict()
    model = build(DILATED, 751, device="meta").eval()
    model.load_state_dict({**weights, "heads.pool_layer.p": torch.ones(1)}, assign=True)
    images = torch.from_numpy(input_batch(256, 128))
    dilated = [module for module in model.modules() if isinstance(module, nn.Conv2d) and module.dilation == (2, 2)]

    assert error(model(images), "fastreid_bot_s50") > 1e-2
    for convolution in dilated:
        convolution.dilation = convolution.padding = (1, 1)

    assert dilated == [block.conv2.conv for block in model.backbone.layer4[1:]]
    assert error(model(images), "fastreid_bot_s50") < FLOAT32


@torch.no_grad()
def test_generalised_mean_pooling_of_large_values_does_not_overflow_in_float16():
    torch.manual_seed(0)
    maps = (2000 * torch.rand(2, 64, 24, 8)).half()  # their cubes are above 65504
    maps[0, 0] = -1  # below the smallest value

    pooled = GeM().half()(maps)

    want = GeM().double()(maps.double())
    assert torch.allclose(want[:, :, 0, 0], maps.double().clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3))
    assert torch.allclose(pooled.double(), want, rtol=5e-3, atol=1e-6)


@torch.no_grad()
def test_new_non_local_blocks_change_nothing():
    blocks = [module for module in build("fastreid_agw_r50_ibn").eval().modules() if isinstance(module, NonLocal)]

    maps = [torch.randn(2, block.g.in_channels, 4, 3) for block in blocks]
    assert [block.g.in_channels for block in blocks] == [512, 512, 1024, 1024, 1024]
    assert all(torch.equal(block(x), x) for block, x in zip(blocks, maps, strict=True))


def test_poolings_of_mgn_learn_one_exponent():
    names = [name for name in build("fastreid_mgn_r50_ibn", 5, device="meta").state_dict() if name.endswith(".p")]
    parameters = build("fastreid_mgn_r50_ibn", 5, device="meta").named_parameters()

    assert sorted(names) == sorted(f"{part}_pool.0.p" for part in PARTS)
    assert sum(name.endswith(".p") for name, _ in parameters) == 1


@torch.no_grad()
def test_every_part_of_mgn_has_its_place_and_its_classifier():
    model = build("fastreid_mgn_r50_ibn", 5).eval()
    maps = torch.randn(1, 3 * 2048, 24, 8)
    places = {"b1": (0, 0, 24), "b2": (1, 0, 24), "b3": (2, 0, 24), "b21": (1, 0, 12), "b22": (1, 12, 24)}
    places |= {"b31": (2, 0, 8), "b32": (2, 8, 16), "b33": (2, 16, 24)}
    model.feature_maps = lambda images: maps

    embedding = model.embed(torch.empty(0))
    logits = model.classify(embedding)

    for index, part in enumerate(PARTS):
        branch, top, bottom = places[part]
        pooled = model.get_submodule(f"{part}_pool")(maps[:, 2048 * branch : 2048 * (branch + 1), top:bottom])
        alone = model.get_submodule(f"{part}_head")(pooled)
        assert torch.equal(embedding[:, 256 * index : 256 * (index + 1)], alone)
        assert torch.equal(logits[index], model.get_submodule(f"{part}_head").classifier(alone))
