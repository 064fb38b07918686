"""Parameters and multiply-adds, held to every figure that the zoo prints."""

from dataclasses import asdict
from decimal import Decimal

import pytest
import torch
from torch import Tensor, nn

from reidhub.errors import UsageError
from reidhub.inference.complexity import complexity
from reidhub.models import ARCHITECTURES, build
from reidhub.models.base import ReidModel
from reidhub.models.blocks import pool_average
from reidhub.zoo.checkpoint import Checkpoint, Complexity
from reidhub.zoo.manifest import zoo

ARCHITECTURE = {a.name: a for a in zoo().architectures}
PRINTED = [c for c in zoo().checkpoints if c.params_m is not None and c.gflops is not None]


class Twice(ReidModel):
    """A model whose only convolution is called twice, with counts that can be worked out by hand."""

    input_size = (8, 4)

    def __init__(self) -> None:
        super().__init__(3, 7)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.classifier = nn.Linear(3, 7)

    def feature_maps(self, images: Tensor) -> Tensor:
        return self.conv(self.conv(images))

    def embed(self, images: Tensor) -> Tensor:
        return pool_average(self.feature_maps(images))


TWICE = Complexity(params=3 * 3 * 9 + 3, params_by_calls=2 * (3 * 3 * 9 + 3), multiply_adds=2 * 3 * 3 * 9 * 8 * 4)


def as_printed(count: int, unit: int, figure: str) -> str:
    """``count`` in ``unit``, with as many digits as ``figure``."""
    return str((Decimal(count) / unit).quantize(Decimal(figure)))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_manifest_carries_what_is_computed_here(name: str):
    entry = ARCHITECTURE[name]

    cost = complexity(build(name, init=False, device="meta"), (entry.input.height, entry.input.width))

    assert asdict(entry.computed) == asdict(cost)


@pytest.mark.parametrize("checkpoint", PRINTED, ids=lambda c: c.name)
def test_printed_figures_are_these(checkpoint: Checkpoint):
    architecture = ARCHITECTURE[checkpoint.model]
    cost = architecture.computed  # the test above computes it here

    assert checkpoint.input == architecture.input
    assert as_printed(cost.params_by_calls, 10**6, checkpoint.params_m) == checkpoint.params_m
    assert as_printed(cost.multiply_adds, 10**9, checkpoint.gflops) == checkpoint.gflops


def test_figures_are_printed_for_all_architectures_but_shufflenet_and_those_of_fast_reid():
    others = {name for name in ARCHITECTURES if name.startswith("fastreid_")}
    assert ARCHITECTURES.keys() - {c.model for c in PRINTED} == {"shufflenet"} | others


@pytest.mark.parametrize("checkpoint", PRINTED, ids=lambda c: c.name)
def test_manifest_says_where_the_printed_parameters_count_calls(checkpoint: Checkpoint):
    architecture = ARCHITECTURE[checkpoint.model]

    fits = as_printed(architecture.computed.params, 10**6, checkpoint.params_m) == checkpoint.params_m

    assert fits == (architecture.printed_params == "distinct")


def test_module_called_twice_lies_in_memory_once():
    assert complexity(Twice()) == TWICE


def test_four_regions_of_hacnn_share_their_blocks():
    assert as_printed(ARCHITECTURE["hacnn"].computed.params, 10**6, "0.0") == "2.9"


def test_count_is_of_one_image():
    assert complexity(Twice(), torch.zeros(5, 3, 8, 4)) == TWICE


def test_larger_images_cost_more():
    assert complexity(Twice(), (16, 4)).multiply_adds == 2 * TWICE.multiply_adds


def test_classifier_does_not_count():
    narrow, wide = (build("osnet_x0_25", classes, init=False, device="meta") for classes in (1, 5000))

    assert complexity(narrow) == complexity(wide)


def test_model_is_left_as_it_was():
    model = Twice()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}

    complexity(model)

    assert model.training
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_size_that_the_architecture_does_not_take_is_an_error():
    with pytest.raises(UsageError, match="160 x 64"):
        complexity(build("hacnn", init=False, device="meta"), (256, 128))
