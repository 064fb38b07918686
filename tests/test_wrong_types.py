"""Arguments of a wrong type: every public function says what it wants."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.small_model import make_small_model, spec_of

import reidhub
from reidhub.errors import ReidhubError, UsageError
from reidhub.inference import Embedder
from reidhub.models import build

WRONG = [None, 2.5, b"osnet_x1_0", ["osnet_x1_0"], {}, object(), np.zeros((4, 4, 3), np.uint8), torch.zeros(2)]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: type(wrong).__name__)
@pytest.mark.parametrize(
    "call",
    [
        reidhub.build,
        reidhub.complexity,
        reidhub.doctor,
        reidhub.embedder,
        reidhub.fetch,
        reidhub.find,
        reidhub.load,
        reidhub.read_weights,
        reidhub.transform,
        lambda name: reidhub.compat.FeatureExtractor(name, device="cpu"),
    ],
    ids=lambda call: call.__name__,
)
def test_an_error_names_a_wrong_first_argument(call: Callable[[object], object], wrong: object) -> None:
    with pytest.raises(ReidhubError):
        call(wrong)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: reidhub.complexity("osnet_x1_0"), r"takes a model, got 'osnet_x1_0'(.|\n)*reidhub\.build"),
        (lambda: reidhub.complexity(make_small_model(), "big"), r"\(height, width\).*got 'big'"),
        (lambda: reidhub.complexity(make_small_model(), 256), r"\(height, width\).*got 256"),
        (lambda: reidhub.complexity(make_small_model(), (1, 2, 3)), r"\(height, width\).*got \(1, 2, 3\)"),
        (lambda: reidhub.complexity(make_small_model(), (2.5, 8)), r"\(height, width\).*got \(2\.5, 8\)"),
        (lambda: reidhub.embedder("osnet_x1_0", batch=2.5), r"whole number of images, got 2\.5"),
        (lambda: reidhub.embedder("osnet_x1_0", batch="8"), "whole number of images, got '8'"),
        (lambda: reidhub.embedder("osnet_x1_0", device=["cuda"]), r"no device .*\['cuda'\]"),
        (lambda: reidhub.embedder("osnet_x1_0", precision=["fp32"]), r"unknown precision \['fp32'\]"),
        (lambda: reidhub.load("osnet_x1_0", 5), "a name such as 'osnet_x1_0' was expected, got 5"),
        (lambda: reidhub.load("osnet_x1_0", True), "a name such as 'osnet_x1_0' was expected, got True"),
        (lambda: reidhub.load("osnet_x1_0", device=1.5), r"no device '1\.5'"),
        (lambda: reidhub.doctor(5), "expected the path of a file, got 5"),
        (lambda: reidhub.read_weights(None), "expected the path of a file, got None"),
        (lambda: reidhub.build("osnet_x1_0", "751"), "'751' classes"),
        (lambda: build("osnet_x1_0", 2.5), r"2\.5 classes"),
    ],
)
def test_an_error_names_a_wrong_further_argument(call: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda embed: embed(None), "images are paths.*got NoneType"),
        (lambda embed: embed.embed_files(None), "a list of image files, got None"),
        (lambda embed: embed.embed_files([None]), r"images\[0\] is of type NoneType"),
        (lambda embed: embed.embed_files([], 2.5), r"whole number of workers above 0, got 2\.5"),
        (lambda embed: embed.embed_files([np.zeros((4, 4), np.float32)]), r"images\[0\] is an array of float32"),
        (lambda embed: embed.boxes(None, [], color="rgb"), "the frame is a NoneType"),
        (lambda embed: embed.boxes(np.zeros((4, 4, 3), np.uint8), None, color="rgb"), "boxes are numbers"),
        (lambda embed: embed.boxes(np.zeros((4, 4, 3), np.uint8), "box", color="rgb"), "boxes are numbers"),
        (lambda embed: embed.boxes(np.zeros((4, 4, 3), np.uint8), [], color=None), "color is 'bgr' or 'rgb'"),
        (lambda embed: embed.for_tracker(["boxmot"]), "no adapter"),
    ],
)
def test_an_embedder_says_what_it_takes(call: Callable[[Embedder], object], said: str) -> None:
    model = make_small_model()
    with pytest.raises(UsageError, match=said):
        call(Embedder.of_model(model, spec_of(model), precision="exact"))


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3), np.uint8), torch.zeros(3, 4, 4), None, b"content"])
def test_a_transform_says_how_an_array_becomes_an_image(wrong: object) -> None:
    with pytest.raises(UsageError, match=r"takes a PIL image or a path, got (.|\n)*PIL\.Image\.fromarray\(array\)"):
        reidhub.transform("osnet_x1_0")(wrong)
