"""Files of users, as trainers save them: found, described, and loaded without a manifest entry."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.hostile_files import saved
from support.local_zoos import Entry, file_of, state_of, write_zoo
from torch import Tensor

import reidhub
from reidhub.diagnosis.own_file import find_own_checkpoint
from reidhub.errors import StateDictError, UnknownCheckpointError, UsageError, WeightsError
from reidhub.zoo.checkpoint import OwnCheckpoint
from reidhub.zoo.manifest import zoo

STATE = state_of("osnet_x0_25", 5)


def weights(prefix: str = "", dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {prefix + n: t.to(dtype) if t.is_floating_point() else t for n, t in STATE.items()}


OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
FILES = {
    "bare": weights(),
    "state_dict and optimizer": {"state_dict": weights(), "optimizer": OPTIMIZER, "epoch": 7},
    "model and EMA": {"model": weights(), "model_ema": weights("module."), "optimizer": OPTIMIZER},
    "EMA alone": {"epoch": 3, "ema": weights("module.")},
    "DataParallel": {"state_dict": weights("module.")},
    "compiled and distributed": {"model": weights("module._orig_mod.")},
    "Lightning": {"state_dict": weights("model."), "pytorch-lightning_version": "2.5", "callbacks": {}},
}


def write(folder: Path, content: object, name: str = "my.pth") -> Path:
    path = folder / name
    path.write_bytes(saved(content))
    return path


@pytest.mark.parametrize("kind", FILES)
def test_file_of_a_trainer_loads_with_the_weights_that_it_has(tmp_path, kind):
    model = reidhub.load(write(tmp_path, FILES[kind]))

    assert not model.training and model.num_classes == 5
    assert all(torch.equal(tensor, STATE[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_load_as_float32(tmp_path, dtype):
    model = reidhub.load(write(tmp_path, weights(dtype=dtype)))

    wanted = weights(dtype=dtype)
    assert all(torch.equal(t, wanted[n].to(t.dtype)) for n, t in model.state_dict().items())
    assert model.conv1.conv.weight.dtype == torch.float32


def test_architecture_is_detected_and_the_log_names_it(tmp_path, caplog):
    path = write(tmp_path, weights())

    with caplog.at_level(logging.INFO):
        found = find_own_checkpoint(path)

    assert (found.name, found.model, found.spec.num_classes, found.path) == (str(path), "osnet_x0_25", 5, path)
    assert f"{path} has the architecture osnet_x0_25" in caplog.text
    assert found.input == zoo().architecture("osnet_x0_25").input and found.distance == "euclidean"


def test_input_of_the_architectures_entry_is_used_not_one_from_code(tmp_path, monkeypatch):
    own = Path(write_zoo(tmp_path, Entry("osnet_x0_25.mine", file_of("osnet_x0_25", 3))))
    monkeypatch.setenv("REIDHUB_MANIFEST", str(own))
    entry = zoo().architecture("hacnn")

    found = find_own_checkpoint(write(tmp_path, state_of("hacnn", 3)))

    assert found.input == entry.input and (found.input.height, found.input.width) == (160, 64)


def test_embedder_and_transform_take_a_file(tmp_path):
    path = write(tmp_path, weights())
    pixels = torch.randint(0, 256, (3, 3, 256, 128), dtype=torch.uint8)

    embed = reidhub.embedder(path, precision="exact")

    assert embed(pixels).shape == (3, 512)
    assert embed(pixels).equal(reidhub.embedder(str(path), architecture="osnet_x0_25", precision="exact")(pixels))
    assert reidhub.fetch(path) == path and callable(reidhub.transform(path))


def test_nothing_is_written_beside_the_file_or_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDHUB_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "runs"
    folder.mkdir()
    path = write(folder, weights())

    reidhub.embedder(path)(torch.zeros(1, 3, 256, 128, dtype=torch.uint8))

    assert list(folder.iterdir()) == [path]
    assert not (tmp_path / "cache" / "files").exists()


def test_file_that_fits_only_partly_is_an_error_that_lists_what_does_not_fit(tmp_path):
    state = weights()
    del state["fc.0.weight"]
    state["conv1.conv.weight"] = torch.zeros(16, 1, 7, 7)

    with pytest.raises(StateDictError) as caught:
        reidhub.load(write(tmp_path, state))

    assert "2 of 567 tensors do not fit" in str(caught.value)
    assert "missing" in str(caught.value) and "fc.0.weight" in str(caught.value)
    assert "expected (16, 3, 7, 7), got (16, 1, 7, 7)" in str(caught.value)


def test_other_architecture_than_the_given_one_is_an_error_that_lists_what_does_not_fit(tmp_path):
    with pytest.raises(StateDictError, match=r"osnet_x0_5: \d+ of \d+ tensors do not fit"):
        reidhub.load(write(tmp_path, weights()), architecture="osnet_x0_5")


def test_file_without_a_classifier_loads_for_embeddings_with_a_warning(tmp_path, caplog):
    path = write(tmp_path, {n: t for n, t in weights().items() if not n.startswith("classifier")})

    model = reidhub.load(path)

    assert "newly initialised: classifier.weight (1000, 512)" in caplog.text
    assert torch.equal(model.state_dict()["conv1.conv.weight"], STATE["conv1.conv.weight"])
    assert reidhub.load(path, num_classes=7).num_classes == 7


def test_other_number_of_classes_starts_a_new_classifier(tmp_path, caplog):
    assert reidhub.load(write(tmp_path, weights()), num_classes=9).num_classes == 9
    assert "left out classifier.weight (5, 512)" in caplog.text


def test_file_with_the_bytes_of_a_checkpoint_is_this_checkpoint(tmp_path, monkeypatch):
    content = file_of("osnet_x0_25", 3)
    monkeypatch.setenv("REIDHUB_MANIFEST", write_zoo(tmp_path, Entry("osnet_x0_25.mine", content)))
    path = tmp_path / "renamed.pth"
    path.write_bytes(content)

    found = find_own_checkpoint(path)

    assert found.name == "osnet_x0_25.mine" and isinstance(found, OwnCheckpoint)
    assert found.artifact.digest == zoo().find("osnet_x0_25.mine")[0].artifact.digest
    with pytest.raises(UsageError, match=r"has the bytes of osnet_x0_25\.mine, which is not mlfn"):
        find_own_checkpoint(path, "mlfn")


def test_name_of_a_checkpoint_wins_over_a_file_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, weights(), "osnet_x0_25")
    write(tmp_path, weights(), "plain")

    assert reidhub.api.find_one("osnet_x0_25").name == "osnet_x0_25.msmt17"
    assert reidhub.api.find_one("./osnet_x0_25").name == "osnet_x0_25"
    assert reidhub.api.find_one(Path("osnet_x0_25")).path == Path("osnet_x0_25")
    assert reidhub.api.find_one("plain").path == Path("plain")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: reidhub.load("my.pth"), UnknownCheckpointError, "there is no file my.pth"),
        (lambda: reidhub.load(Path("nowhere")), UnknownCheckpointError, "there is no file nowhere"),
        (lambda: reidhub.load(Path(__file__), "msmt17"), UsageError, "dataset='msmt17' has no meaning"),
        (lambda: reidhub.load("osnet_x0_25", architecture="mlfn"), UsageError, "only a file needs architecture='mlfn'"),
        (lambda: reidhub.load(Path(__file__), architecture="vit"), UsageError, "no architecture is called 'vit'"),
        (lambda: reidhub.load(Path(__file__)), WeightsError, "test_own_file.py"),
        (lambda: reidhub.load(Path(__file__).parent), WeightsError, "is a folder without config.json"),
    ],
)
def test_wrong_file_or_argument_is_an_error_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


RUN = """
import sys, torch
class Evil:
    def __reduce__(self):
        return (open, (sys.argv[1], "w"))
torch.save({"state_dict": Evil()}, sys.argv[2])
"""


def test_no_code_of_the_file_runs(tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "evil.pth"
    subprocess.run([sys.executable, "-c", RUN, mark, path], check=True)

    with pytest.raises(WeightsError):
        reidhub.load(path)

    assert not mark.exists()
