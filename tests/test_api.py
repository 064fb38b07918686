"""From a name to a model: selectors, files, weights, classifiers of other widths, preprocessing."""

import logging
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.hostile_files import saved
from support.local_zoos import Entry, file_of, replace_zoo, state_of, write_zoo

import reidhub
from reidhub import api
from reidhub.errors import FetchError, StateDictError, UnknownCheckpointError, UsageError, WeightsError
from reidhub.weights.load import write_safetensors

NAME = "osnet_x0_25.mine"
IMAGES = torch.linspace(-2, 2, 2 * 3 * 64 * 32).view(2, 3, 64, 32)


@pytest.fixture
def own_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Adds checkpoints to the zoo of this test."""
    return lambda *entries: monkeypatch.setenv("REIDHUB_MANIFEST", write_zoo(tmp_path, *entries))


def weights_of(model: torch.nn.Module, *, classifier: bool = True) -> dict[str, torch.Tensor]:
    return {n: t for n, t in model.state_dict().items() if classifier or not n.startswith("classifier")}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_every_checkpoint_of_the_zoo_and_of_ones_own_manifest_is_listed(own_zoo):
    before = [checkpoint.name for checkpoint in reidhub.checkpoints()]
    own_zoo(Entry(NAME, b""))

    assert [checkpoint.name for checkpoint in reidhub.checkpoints()] == [*before, NAME]
    assert len(before) == 112


@pytest.mark.parametrize(
    ("model", "dataset", "name"),
    [
        ("osnet_x1_0.msmt17", None, "osnet_x1_0.msmt17"),
        ("osnet_x1_0", None, "osnet_x1_0.msmt17"),
        ("resnet50", None, "resnet50.msmt17"),
        ("osnet_x1_0", "msmt17", "osnet_x1_0.msmt17"),
        ("osnet_ain_x1_0", "msmt17", "osnet_ain_x1_0.msmt17_combineall"),
    ],
)
def test_a_model_and_a_dataset_mean_one_checkpoint(model, dataset, name):
    assert api.find_one(model, dataset).name == name


def test_a_glob_that_means_several_is_an_error_that_lists_them():
    with pytest.raises(UsageError, match=r"means 3 checkpoints\nhint: choose one of hacnn.market1501, hacnn.duke"):
        api.find_one("hacnn.*")


def test_what_there_is_none_of_is_an_error_that_lists_what_there_is():
    with pytest.raises(
        UnknownCheckpointError, match=r"hacnn has no checkpoint trained on 'cuhk03'\nhint: .*hacnn.msmt"
    ):
        api.load("hacnn", "cuhk03")


def test_fetched_file_is_the_published_one_under_its_digest(own_zoo, reidhub_home):
    own_zoo(Entry(NAME, b"\x80\x02 published"))

    path = reidhub.fetch(NAME)

    assert path.read_bytes() == b"\x80\x02 published"
    assert path.is_relative_to(reidhub_home)


def test_file_that_is_not_there_is_an_error_that_names_its_source(own_zoo):
    own_zoo(Entry(NAME, None))

    with pytest.raises(FetchError, match=rf"did not give {NAME} \(sha256 .*\n  local"):
        reidhub.load(NAME)


@pytest.fixture
def own_architectures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Replaces the whole zoo of this test by an architecture, its default checkpoint, and another checkpoint."""

    return lambda default, other: replace_zoo(tmp_path, monkeypatch, default, other)


START = Entry("osnet_x0_25.start", file_of("osnet_x0_25", 6), trained_on="imagenet", classes=6)
TRAINED = Entry("osnet_x0_25.trained", file_of("osnet_x0_25", 5), classes=5)


def test_a_model_alone_means_the_default_of_the_manifest_and_the_log_says_which(own_architectures, caplog):
    own_architectures(TRAINED, START)

    for give in (reidhub.load, reidhub.fetch, reidhub.transform, reidhub.embedder):
        caplog.clear()
        with caplog.at_level(logging.INFO, "reidhub.api"):
            result = give("osnet_x0_25")
        said = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "reidhub.api"]
        assert said == [("INFO", "osnet_x0_25 means the checkpoint osnet_x0_25.trained")]
        assert give is not reidhub.load or result.num_classes == 5


def test_a_choice_by_name_or_dataset_is_not_logged(own_architectures, caplog):
    own_architectures(TRAINED, START)

    with caplog.at_level(logging.INFO):
        reidhub.load("osnet_x0_25.start")
        reidhub.load("osnet_x0_25", "imagenet")
        reidhub.embedder("osnet_x0_25", dataset="trained", precision="exact")

    assert not [record for record in caplog.records if record.name == "reidhub.api"]


def test_loading_imagenet_weights_that_nobody_asked_for_warns(own_architectures, caplog):
    own_architectures(START, TRAINED)

    assert reidhub.load("osnet_x0_25").num_classes == 6

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "osnet_x0_25.start has ImageNet weights, which cannot tell people apart" in record.getMessage()
    assert 'dataset="start"' in record.getMessage()


@pytest.mark.parametrize(
    "model", ["shufflenet", "shufflenet.*", "osnet_ain_x0_75", "osnet_ain_x0_5", "osnet_ain_x0_25"]
)
def test_embedder_refuses_imagenet_weights_that_nobody_asked_for_and_fetches_nothing(model, reidhub_home):
    expected = r'means \S+\.imagenet: ImageNet weights, .*\nhint: give dataset="imagenet" .* another architecture'

    with pytest.raises(UsageError, match=expected):
        reidhub.embedder(model)

    assert not list(reidhub_home.glob("files/*"))


@pytest.mark.parametrize("how", [("osnet_x0_25", "imagenet"), ("osnet_x0_25", "start"), ("osnet_x0_25.start",)])
def test_embedder_takes_imagenet_weights_that_the_user_asked_for(own_architectures, how):
    own_architectures(START, TRAINED)

    assert reidhub.embedder(*how, precision="exact")(IMAGES).shape == (2, 512)


@pytest.mark.parametrize("declared", [5, None])
def test_loaded_model_has_the_files_weights_and_is_ready_to_embed(own_zoo, declared):
    own_zoo(Entry(NAME, file_of("osnet_x0_25", 5), classes=declared))

    model = reidhub.load(NAME)

    assert same(weights_of(model), state_of("osnet_x0_25", 5))
    assert not model.training
    assert model(IMAGES).shape == (2, 512)


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_device_precision_or_batch_that_cannot_be_is_told_before_anything_is_fetched(own_zoo, reidhub_home, device):
    own_zoo(Entry(NAME, file_of("osnet_x0_25", 5)))

    for give in (reidhub.load, reidhub.embedder):
        with pytest.raises(UsageError, match=f"no device '{device}'"):
            give(NAME, device=device)

    with pytest.raises(UsageError, match="unknown precision 'fp8'"):
        reidhub.embedder(NAME, precision="fp8")
    with pytest.raises(UsageError, match="batch above 0, got 0"):
        reidhub.embedder(NAME, batch=0)
    assert not list(reidhub_home.glob("files/*"))


def test_second_load_reads_the_copy_that_the_first_one_converted(own_zoo, reidhub_home):
    own_zoo(Entry(NAME, file_of("osnet_x0_25", 5)))
    reidhub.load(NAME)
    (original,) = (reidhub_home / "files").glob("*.pth")
    before = original.stat()
    original.write_bytes(bytes(before.st_size))
    os.utime(original, ns=(before.st_atime_ns, before.st_mtime_ns))  # nobody looks at its bytes again

    assert same(weights_of(reidhub.load(NAME)), state_of("osnet_x0_25", 5))


def test_training_a_model_changes_nothing_in_the_cache(own_zoo):
    own_zoo(Entry(NAME, file_of("osnet_x0_25", 5)))
    reidhub.load(NAME)
    model = reidhub.load(NAME).train()

    model(IMAGES).sum().backward()
    torch.optim.SGD(model.parameters(), 1.0).step()

    assert not same(weights_of(model), state_of("osnet_x0_25", 5))
    assert same(weights_of(reidhub.load(NAME)), state_of("osnet_x0_25", 5))


def test_weights_that_do_not_fit_are_not_converted(own_zoo, reidhub_home):
    own_zoo(Entry(NAME, file_of("osnet_x0_25", 5), classes=4))

    with pytest.raises(StateDictError):
        reidhub.load(NAME)

    assert list((reidhub_home / "files").glob("*.safetensors*")) == []


def test_weights_are_handed_out_as_safetensors(own_zoo):
    own_zoo(Entry(NAME, file_of("osnet_x0_25", 5)))

    path = write_safetensors(reidhub.find(NAME)[0], reidhub.fetch(NAME))

    assert same(load_file(path), state_of("osnet_x0_25", 5))


def test_file_of_another_architecture_is_an_error_that_lists_the_differences(own_zoo):
    own_zoo(Entry("osnet_x0_5.mine", file_of("osnet_x0_25", 5)))

    with pytest.raises(StateDictError, match=r"osnet_x0_5.mine: \d+ of \d+ tensors do not fit\n  shape"):
        reidhub.load("osnet_x0_5.mine")


def test_file_of_other_classes_than_declared_is_an_error(own_zoo):
    own_zoo(Entry(NAME, file_of("osnet_x0_25", 5), classes=4))

    with pytest.raises(StateDictError, match=r"classifier.weight  expected \(4, 512\), got \(5, 512\)"):
        reidhub.load(NAME)


@pytest.mark.parametrize("name", ["osnet_x0_25", "hacnn", "mobilenetv2_x1_0"])
def test_other_number_of_classes_brings_a_new_classifier_and_the_log_says_so(own_zoo, caplog, name):
    own_zoo(Entry(f"{name}.mine", file_of(name, 5), classes=5))

    model = reidhub.load(f"{name}.mine", num_classes=3)

    rows = [tensor.shape[0] for n, tensor in model.state_dict().items() if n.startswith("classifier")]
    assert set(rows) == {3} and model.num_classes == 3
    assert same(weights_of(model, classifier=False), weights_of_file(name))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and record.name.startswith("reidhub.")
    for left_out in (n for n in model.state_dict() if n.startswith("classifier")):
        assert record.getMessage().count(left_out) == 2  # left out, and newly initialised


def weights_of_file(name: str) -> dict[str, torch.Tensor]:
    return {n: t for n, t in state_of(name, 5).items() if not n.startswith("classifier")}


def test_same_number_of_classes_keeps_the_files_classifier(own_zoo, caplog):
    own_zoo(Entry(NAME, file_of("osnet_x0_25", 5), classes=5))

    model = reidhub.load(NAME, num_classes=5)

    assert same(weights_of(model), state_of("osnet_x0_25", 5))
    assert not caplog.records


def test_backbone_that_fits_only_partly_is_an_error_whatever_the_classes(own_zoo):
    state = state_of("osnet_x0_25", 5)
    del state["conv1.conv.weight"]
    own_zoo(Entry(NAME, saved(state), classes=5))

    with pytest.raises(StateDictError, match=rf"{NAME}: 1 of 567 tensors do not fit\n  missing +conv1.conv.weight"):
        reidhub.load(NAME, num_classes=3)


def test_classifier_of_no_classes_is_an_error(own_zoo):
    own_zoo(Entry(NAME, file_of("osnet_x0_25", 5), classes=5))

    with pytest.raises(UsageError, match="0 classes was asked for"):
        reidhub.load(NAME, num_classes=0)


def test_start_of_a_training_gives_logits_and_on_request_the_embedding(own_zoo):
    own_zoo(Entry("osnet_x0_25.start", file_of("osnet_x0_25", 6), trained_on="imagenet", classes=6))

    model = reidhub.load("osnet_x0_25.start", num_classes=4).train()

    logits, embedding = model.classify_and_embed(IMAGES)
    assert model(IMAGES).shape == logits.shape == (2, 4)
    assert embedding.shape == (2, 512)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_file_that_is_no_checkpoint_is_an_error_with_a_hint(own_zoo):
    own_zoo(Entry(NAME, b"\x80\x02 noise"))

    with pytest.raises(WeightsError, match="hint"):
        reidhub.load(NAME)


def test_new_model_is_in_train_mode_with_as_many_classes_as_asked_for():
    model = reidhub.build("osnet_x0_25", 7)

    assert model.training
    assert model(IMAGES).shape == (2, 7)


def test_unknown_architecture_is_an_error_that_names_the_nearest():
    with pytest.raises(UsageError, match=r"no architecture is called 'resnet5'\nhint: did you mean resnet50"):
        reidhub.build("resnet5")


def test_preprocessing_is_the_checkpoints_own(own_zoo):
    own_zoo(Entry(NAME, b""))

    pixels = reidhub.transform(NAME)(Image.new("RGB", (10, 20), (255, 0, 0)))

    assert pixels.shape == (3, 64, 32)
    assert pixels[0].unique().tolist() == [2.0] and pixels[1].unique().tolist() == [-2.0]


def test_published_weights_become_a_model_that_tells_two_images_apart(real_weights, tmp_path, monkeypatch):
    files = {tag: (real_weights / f"osnet_x0_25_{tag}.pth").read_bytes() for tag in ("market1501", "imagenet")}
    own = [Entry(f"osnet_x0_25.real_{tag}", content) for tag, content in files.items()]
    monkeypatch.setenv("REIDHUB_MANIFEST", write_zoo(tmp_path, *own))

    model = reidhub.load("osnet_x0_25.real_market1501")
    start = reidhub.load("osnet_x0_25.real_imagenet", num_classes=751)

    assert (model.num_classes, start.num_classes) == (751, 751)
    first, second = model(IMAGES)
    assert torch.cosine_similarity(first, second, dim=0) < 0.99
