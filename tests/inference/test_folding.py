"""Folding of normalisations into the layers before them."""

import pytest
import torch
from support.architectures import EVERY
from support.contract import contract_model
from support.small_model import relative_error, run_plainly
from torch import nn

from reidhub.inference.folding import fold_normalisations

BEHIND_NO_LAYER = (".bnneck", ".BN")  # of fast-reid: behind a pooling, and behind one half of a layer's output


@pytest.mark.parametrize("name", EVERY)
def test_every_normalisation_behind_a_layer_is_folded_and_the_model_stays_as_it_is(name: str) -> None:
    model = contract_model(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}

    module = fold_normalisations(model)

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    called = {str(node.target) for node in module.graph.nodes if node.op == "call_module"}
    kept = [name for name in called if isinstance(module.get_submodule(name), kinds)]
    assert [name for name in kept if not name.endswith(BEHIND_NO_LAYER)] == []
    assert any(isinstance(child, kinds) for child in model.modules())
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_layers_that_others_read_or_call_again_keep_their_normalisation(small, images) -> None:
    module = fold_normalisations(small)

    called = [str(node.target) for node in module.graph.nodes if node.op == "call_module"]
    assert called == ["conv1", "conv2", "bn2", "conv3", "conv3", "bn3", "conv4", "conv4"]
    assert relative_error(run_plainly(module, images), run_plainly(small, images)) < 1e-6


@pytest.mark.parametrize("settings", [{"affine": False}, {"track_running_stats": False}, {"eps": 0.5}])
def test_normalisations_of_every_kind_give_the_same_folded_or_left(small, images, settings) -> None:
    small.bn1 = nn.BatchNorm2d(4, **settings).eval()

    module = fold_normalisations(small)

    called = [str(node.target) for node in module.graph.nodes if node.op == "call_module"]
    assert ("bn1" in called) == ("track_running_stats" in settings)
    assert relative_error(run_plainly(module, images), run_plainly(small, images)) < 1e-6
