"""Where training starts that starts from no checkpoint of the zoo."""

import pytest
import torch
import torchvision
from support.hostile_files import saved
from support.local_zoos import Entry, file_of, write_zoo

import reidhub
from reidhub.errors import FetchError, StateDictError, UnknownCheckpointError, UsageError
from reidhub.testing.hosts import Static
from reidhub.testing.internet import online

HOST, PATH = "download.pytorch.org", "/models/resnet50-0676ba61.pth"


def torchvision_weights() -> dict[str, torch.Tensor]:
    """Names and shapes as torchvision's own network has them."""
    torch.manual_seed(2)
    return torchvision.models.resnet50().state_dict()


@pytest.fixture(scope="module")
def published() -> bytes:
    return saved(torchvision_weights())


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("resnet50", {"classifier"}),
        ("resnet50_fc512", {"classifier", "fc"}),
    ],
)
def test_resnet_starts_from_torchvisions_backbone_and_a_new_head(name, new, published, caplog):
    with online({HOST: Static({PATH: published})}) as internet:
        model = reidhub.load(name, "imagenet", num_classes=7)

    state, original = model.state_dict(), torchvision_weights()
    assert {key.partition(".")[0] for key in state.keys() - original.keys()} | {"classifier"} == new
    backbone = [key for key in original if not key.startswith("fc.")]
    assert len(backbone) == 318 and all(torch.equal(state[key], original[key]) for key in backbone)
    assert model.train()(torch.zeros(2, 3, 64, 32)).shape == (2, 7)
    assert [request.path for request in internet.requests(HOST)] == [PATH]
    (record,) = (record for record in caplog.records if record.name == "reidhub.weights.fit")
    said, _, initialised = record.getMessage().partition("newly initialised: ")
    assert "left out fc.weight (1000, 2048), fc.bias (1000,)" in said
    assert all(f"{part}." in initialised for part in new)


def test_without_a_number_there_are_a_thousand_classes_and_the_second_start_asks_nobody(published):
    with online({HOST: Static({PATH: published})}) as internet:
        first = reidhub.load("resnet50", "imagenet")
        reidhub.load("resnet50_fc512", "imagenet")

    assert first.num_classes == 1000
    assert len(internet.requests(HOST)) == 1


def test_file_that_is_not_torchvisions_is_an_error_that_lists_the_differences(published):
    with (
        online({HOST: Static({PATH: file_of("osnet_x0_25", 3)})}),
        pytest.raises(StateDictError, match=r"resnet50.imagenet: \d+ of \d+ tensors do not fit\n  missing"),
    ):
        reidhub.load("resnet50", "imagenet", num_classes=7)


def test_host_that_does_not_answer_is_named_and_the_file_called_unpinned():
    with (
        online({HOST: Static({})}),
        pytest.raises(FetchError, match=r"resnet50.imagenet \(unpinned\)\n.*download.pytorch.org: 404"),
    ):
        reidhub.load("resnet50", "imagenet")


def test_model_trained_from_scratch_has_no_start_and_the_error_says_what_to_call():
    with pytest.raises(UsageError, match=r"no ImageNet weights of hacnn: .*scratch\nhint: reidhub.build\('hacnn'"):
        reidhub.load("hacnn", "imagenet", num_classes=751)


def test_start_is_no_checkpoint_of_the_zoo():
    with pytest.raises(UnknownCheckpointError):
        reidhub.find("resnet50.imagenet")


def test_checkpoint_of_ones_own_comes_before_torchvisions(tmp_path, monkeypatch):
    own = Entry("resnet50.imagenet", file_of("resnet50", 3), trained_on="imagenet", classes=3)
    monkeypatch.setenv("REIDHUB_MANIFEST", write_zoo(tmp_path, own))

    assert reidhub.load("resnet50", "imagenet").num_classes == 3
