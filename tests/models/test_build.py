"""New models of every architecture: what they start from, what training sees, and what cannot be built."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support.architectures import EVERY
from support.contract import input_batch
from torch import Tensor, nn

from reidhub.errors import UsageError
from reidhub.models import ARCHITECTURES, _find_definition, build
from reidhub.models.base import ReidModel
from reidhub.models.init import initialise, skip_draws

SEVERAL_CLASSIFIERS = {"hacnn": 2, "fastreid_mgn_r50_ibn": 8}  # number of them


@pytest.fixture(params=EVERY)
def name(request: pytest.FixtureRequest) -> str:
    """Name of an architecture."""
    return request.param


def is_frozen(key: str) -> bool:
    """Return True if a parameter keeps its first value in training, as in fast-reid."""
    return key.endswith("bnneck.bias")


def images_for(model: ReidModel) -> Tensor:
    return torch.from_numpy(input_batch(*model.input_size))


def test_train_mode_gives_logits_and_trains_every_parameter(name):
    torch.manual_seed(0)
    model = build(name, 5)
    images = images_for(model)

    logits, embedding = model.classify_and_embed(images)

    both = logits if isinstance(logits, tuple) else (logits,)
    assert [part.shape for part in both] == [(2, 5)] * len(both)
    assert len(both) == SEVERAL_CLASSIFIERS.get(name, 1)
    assert embedding.shape == (2, model.embedding_dim)
    sum(part.square().sum() for part in both).backward()
    trained = {key for key, parameter in model.named_parameters() if parameter.grad is not None}
    assert {key for key, _ in model.named_parameters()} - trained == {
        key for key in model.state_dict() if is_frozen(key)
    }


def test_train_mode_gives_the_same_logits_with_and_without_the_embedding(name):
    model = build(name, 5)
    images = images_for(model)

    torch.manual_seed(0)
    alone = model(images)
    pair = model.classify_and_embed(images)

    assert torch.equal(torch.stack(tuple(alone)), torch.stack(tuple(pair[0])))


def test_every_statistic_is_updated_once_for_each_call(name):
    model = build(name, 5)

    model(images_for(model))

    counts = {key: int(n) for key, n in model.state_dict().items() if key.endswith("num_batches_tracked")}
    regions = {key for key in counts if key.startswith("local_conv")}  # hacnn: shared by its four regions
    assert {counts[key] for key in counts.keys() - regions} == {1}
    assert {counts[key] for key in regions} == ({4} if name == "hacnn" else set())


def test_regions_of_hacnn_start_spread_over_the_height():
    model = build("hacnn")

    centres = model.ha1.hard_attn(torch.randn(1, 128, 40, 16))

    assert torch.allclose(centres[0].atanh(), torch.tensor([[0, -0.75], [0, -0.25], [0, 0.25], [0, 0.75]]))


def test_hacnn_embeds_the_whole_and_the_parts_at_unit_length():
    model = build("hacnn").eval()

    whole, parts = model(images_for(model)).split(512, 1)

    assert torch.allclose(whole.norm(dim=1), torch.ones(2))
    assert torch.allclose(parts.norm(dim=1), torch.ones(2))


def test_start_fills_every_tensor(name):
    model = build(name, init=False)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(float("nan") if tensor.is_floating_point() else -1)

    initialise(model)

    left = [key for key, t in model.state_dict().items() if not t.isfinite().all() or (t == -1).all()]
    assert left == []


def test_start_follows_the_seed(name):
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build(name))

    assert all(map(torch.equal, models[0].state_dict().values(), models[1].state_dict().values()))


def test_convolutions_start_with_the_deviation_of_he():
    weight = build("resnet50").layer4[0].conv2.weight  # 512 channels out, 3 x 3

    assert abs(weight.std().item() - (2 / (512 * 9)) ** 0.5) < 1e-4


def test_building_without_a_start_draws_no_random_number(name):
    before = torch.get_rng_state()

    model = build(name, init=False)

    assert torch.equal(torch.get_rng_state(), before)
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}


def test_model_is_built_where_it_is_asked_for_whatever_the_default_device():
    with torch.device("meta"):
        built = build("osnet_x0_25", 5)

    assert all(tensor.device.type == "cpu" and tensor.isfinite().all() for tensor in built.state_dict().values())


def test_new_model_is_in_train_mode(name):
    assert build(name, init=False, device="meta").training


def test_unknown_architecture_is_answered_with_the_nearest_names():
    with pytest.raises(UsageError, match="osnet_x1_0") as caught:
        build("osnet_1x0")

    assert "osnet_1x0" in caught.value.message


def test_architecture_like_none_is_answered_with_all_names():
    with pytest.raises(UsageError) as caught:
        build("zzz")

    assert all(name in str(caught.value) for name in ARCHITECTURES)


def test_classifier_needs_a_class():
    with pytest.raises(UsageError, match="0 classes"):
        build("osnet_x0_25", 0)


def test_hacnn_names_the_size_it_takes():
    with pytest.raises(UsageError, match=r"160 x 64 pixels, got 256 x 128"):
        build("hacnn").eval()(torch.zeros(1, 3, 256, 128))


def test_registry_is_read_without_torch():
    code = "import sys, reidhub.models as m; sys.exit(len(m.ARCHITECTURES) != 31 or 'torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_only_the_layers_of_the_thread_that_skips_draws_are_not_drawn():
    def drawn() -> bool:
        torch.manual_seed(0)
        first = nn.Conv2d(3, 4, 1)
        torch.manual_seed(1)
        return not torch.equal(first.weight, nn.Conv2d(3, 4, 1).weight) and nn.BatchNorm2d(4).weight.sum() == 4

    with skip_draws(), ThreadPoolExecutor(1) as other:
        before = torch.random.get_rng_state()
        nn.Conv2d(3, 4, 1), nn.Linear(3, 4)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert other.submit(drawn).result()
    assert drawn()
    assert not any("reset_parameters" in vars(layer) for layer in (nn.Conv2d, nn.BatchNorm2d))  # it is where it was


def test_building_without_a_start_leaves_nothing_undefined_but_drawn_weights(name):
    built, usual = build(name, init=False), _find_definition(name)(1000)

    drawn = {
        id(tensor)
        for layer in built.modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
        for tensor in layer.parameters()
    }
    pairs = zip((*built.parameters(), *built.buffers()), (*usual.parameters(), *usual.buffers()), strict=True)
    assert drawn and all(torch.equal(tensor, want) for tensor, want in pairs if id(tensor) not in drawn)


def test_the_meta_device_is_still_too_slow_to_replace_skip_draws():
    """When this fails, build on ``meta`` instead, and delete ``skip_draws``."""
    seconds = {"skip_draws": [], "meta": []}
    for _ in range(10):
        for way, context in (("skip_draws", skip_draws()), ("meta", torch.device("meta"))):
            start = time.thread_time()
            with context:
                _find_definition("osnet_x1_0")(1000)
            seconds[way].append(time.thread_time() - start)

    assert min(seconds["meta"]) > 1.2 * min(seconds["skip_draws"])
