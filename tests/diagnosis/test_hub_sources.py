"""Folders of `reidhub publish` as sources: on this machine, and on a hub at one commit. Nothing in them is trusted."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support.faults import status
from support.hub_folders import CLASSES, edit_config, make_folder
from support.local_zoos import state_of
from support.paths import ROOT
from support.verify_runs import write_images

import reidhub
from reidhub.cache.store import Cache
from reidhub.diagnosis.own_file import find_own_checkpoint
from reidhub.errors import FetchError, ReidhubError, StateDictError, UnknownCheckpointError, UsageError, WeightsError
from reidhub.testing import Internet, Static, online
from reidhub.zoo.hub_folder import LONGEST, HubAddress

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ADDRESS = f"hf://org/some.model@{COMMIT}"
PATH = f"/org/some.model/resolve/{COMMIT}/"
HUB = "huggingface.co"
SMALL = {"height": 64, "width": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bilinear"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose images are 64x32, and that has a notice."""
    change = {"input": SMALL, "distance": "cosine", "licence": "free", "notices": ["do not"], "trained_on": ["msmt17"]}
    return make_folder(tmp_path_factory.mktemp("published"), change=lambda config: config.update(change))


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy of the folder that a test may change."""
    return Path(shutil.copytree(published, tmp_path / "copy"))


def host_of(folder: Path) -> Static:
    return Static({PATH + path.name: path.read_bytes() for path in folder.iterdir()})


@pytest.fixture
def hub(folder: Path) -> Iterator[Internet]:
    """The hub with the folder at one commit."""
    with online({HUB: host_of(folder)}) as internet:
        yield internet


def assert_same(model: torch.nn.Module) -> None:
    wanted = state_of("osnet_x0_25", CLASSES, seed=3)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())


def test_a_folder_loads_with_the_size_and_the_terms_in_its_config(folder: Path, monkeypatch) -> None:
    model, found = reidhub.load(folder), find_own_checkpoint(folder)
    assert_same(model)
    assert not model.training and model.num_classes == CLASSES
    assert (found.name, found.distance, found.licence) == (str(folder / "weights.safetensors"), "cosine", "free")
    assert (found.notices, found.trained_on) == (("do not",), ("msmt17",))
    assert reidhub.transform(folder)(Image.new("RGB", (9, 9))).shape == (3, 64, 32)
    images = torch.rand(2, 3, 64, 32, generator=torch.Generator().manual_seed(0)) - 0.5
    torch.testing.assert_close(reidhub.embedder(folder, precision="exact")(images), model(images).detach())
    monkeypatch.chdir(folder.parent)
    for name in ("copy", "copy/", "./copy"):
        assert find_own_checkpoint(name).artifact == found.artifact and reidhub.transform(name).spec == found.input


def test_the_name_of_a_model_never_means_a_folder(folder: Path, monkeypatch) -> None:
    folder.rename(folder.parent / "osnet_x0_25")
    monkeypatch.chdir(folder.parent)
    assert reidhub.api.find_one("osnet_x0_25").name == "osnet_x0_25.msmt17"
    assert reidhub.api.find_one("./osnet_x0_25").name == "osnet_x0_25/weights.safetensors"


def test_evaluate_scores_a_folder(folder: Path, tmp_path: Path) -> None:
    (scores,) = reidhub.evaluate(folder, write_images(tmp_path) / "corridor", device="cpu", precision="exact")
    assert (scores.checkpoint, scores.distance) == (str(folder / "weights.safetensors"), "cosine")
    assert scores.sha256 == json.loads((folder / "config.json").read_text())["weights"]["sha256"]


def test_torch_hub_takes_a_folder_of_its_architecture(folder: Path) -> None:
    assert_same(torch.hub.load(str(ROOT), "osnet_x0_25", source="local", file=folder))
    with pytest.raises(UsageError, match="has the architecture osnet_x0_25, not osnet_x1_0"):
        reidhub.load(folder, architecture="osnet_x1_0")


def test_an_export_of_a_folder_has_the_name_of_the_folder(folder: Path, hub: Internet, monkeypatch) -> None:
    monkeypatch.chdir(folder.parent)
    for given, name in (("copy", "copy"), (ADDRESS, "some.model")):
        assert reidhub.export(given, format="safetensors").path == Path(f"{name}.safetensors")


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def changed(change: Callable[[Any], object]) -> Callable[[Path], object]:
    return lambda folder: edit_config(folder, change)


def other_weights(folder: Path) -> None:
    """Put weights into the folder that fit, but are not those of the config."""
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


BROKEN: dict[str, tuple[Callable[[Path], object], type[ReidhubError], str]] = {
    "no config": (remove("config.json"), WeightsError, "a folder without config.json\nhint: `reidhub publish`"),
    "no weights": (remove("weights.safetensors"), WeightsError, "weights.safetensors cannot be read: No such file"),
    "other weights": (other_weights, WeightsError, r"promises (\d+) bytes with sha256 .*, got \1 with"),
    "short weights": (write("weights.safetensors", b"short"), WeightsError, "promises .*, got 5 with"),
    "no JSON": (write("config.json", b"{"), WeightsError, "is not a config in JSON"),
    "no text": (write("config.json", b"\xff\xfe\x00"), WeightsError, "is not a config in JSON"),
    "a list": (write("config.json", b"[]"), WeightsError, "is not a config in JSON"),
    "nested": (write("config.json", b"[" * 200_000), WeightsError, "is not a config in JSON"),
    "long number": (write("config.json", b'{"a": ' + b"9" * 9_000 + b"}"), WeightsError, "is not a config in JSON"),
    "huge": (write("config.json", b'{"a": "' + b" " * LONGEST + b'"}'), WeightsError, f"at most {LONGEST} bytes"),
    "of transformers": (write("config.json", b'{"model_type": "bert"}'), WeightsError, "not written by reidhub"),
    "another format": (changed(lambda c: c.update(reidhub_folder=2)), WeightsError, "the format 2, expected 1"),
    "a missing field": (changed(lambda c: c.pop("input")), WeightsError, "is damaged"),
    "a further field": (changed(lambda c: c.update(path="/etc/passwd")), WeightsError, "is damaged"),
    "a path for a digest": (changed(lambda c: c["weights"].update(sha256="../x")), WeightsError, "not a sha256"),
    "no size": (changed(lambda c: c["weights"].update(size=-1)), WeightsError, "got -1"),
    "a huge size": (changed(lambda c: c["weights"].update(size=1 << 50)), WeightsError, "expected weights of 1 to"),
    "NaN": (changed(lambda c: c["input"].update(std=[0.1, float("nan"), 0.1])), WeightsError, "are not finite"),
    "no std": (changed(lambda c: c["input"].update(std=[0.1, 0.0, 0.1])), WeightsError, "std is not above 0"),
    "two colours": (changed(lambda c: c["input"].update(mean=[0.1, 0.1])), WeightsError, "is damaged"),
    "no height": (changed(lambda c: c["input"].update(height=0)), WeightsError, "got 0 x 32"),
    "a huge image": (changed(lambda c: c["input"].update(width=1 << 20)), WeightsError, "1 to 4096 pixels"),
    "another filter": (changed(lambda c: c["input"].update(interpolation="nearest")), WeightsError, "is damaged"),
    "control characters": (changed(lambda c: c.update(notices=["\x1b[2J"])), WeightsError, "cannot be printed"),
    "half a character": (changed(lambda c: c.update(licence="\ud800")), WeightsError, "cannot be printed"),
    "a long text": (changed(lambda c: c.update(name="x" * 2001)), WeightsError, "more than 2000 characters"),
    "too many classes": (changed(lambda c: c.update(num_classes=10**12)), WeightsError, "a classifier of 10{12} "),
    "no classes": (changed(lambda c: c.update(num_classes=0)), WeightsError, "a classifier of 0 classes"),
    "unknown": (changed(lambda c: c.update(architecture="vit")), UsageError, "'vit', which .* does not know\nhint: kn"),
    "another architecture": (changed(lambda c: c.update(architecture="mlfn")), StateDictError, "tensors do not fit"),
    "other classes": (changed(lambda c: c.update(num_classes=CLASSES + 1)), StateDictError, "classifier.weight"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_an_error_in_words(folder: Path, case: str) -> None:
    damage, error, message = BROKEN[case]
    damage(folder)
    with pytest.raises(ReidhubError, match=message) as caught:
        reidhub.load(folder)
    assert type(caught.value) is error and str(caught.value).isprintable() is ("\n" not in str(caught.value))


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownCheckpointError, match="there is no file"):
        reidhub.load(tmp_path / "nothing")


# --- on a hub ------------------------------------------------------------------------------------------------------


def paths(internet: Internet, host: str = HUB) -> list[str]:
    return [request.path for request in internet.requests(host)]


def test_a_commit_on_the_hub_loads_and_is_then_in_the_cache(folder: Path, monkeypatch) -> None:
    with online({HUB: host_of(folder)}) as hub:
        assert_same(reidhub.load(ADDRESS))
        assert paths(hub) == [PATH + "config.json", PATH + "weights.safetensors"]
        assert_same(reidhub.load(ADDRESS))
        assert len(paths(hub)) == 2
    monkeypatch.setenv("REIDHUB_OFFLINE", "1")
    assert_same(reidhub.load(ADDRESS))
    assert reidhub.transform(ADDRESS).spec.height == 64
    assert reidhub.fetch(ADDRESS).read_bytes() == (folder / "weights.safetensors").read_bytes()
    found = find_own_checkpoint(Path(ADDRESS))  # a path has one slash after hf:
    assert (found.name, found.notices) == (ADDRESS, ("do not",))
    with pytest.raises(FetchError, match=r"config.json of .* is not in the cache, and reidhub is offline\nhint: load"):
        reidhub.load(ADDRESS.replace("0123", "3210"))


def test_a_config_that_was_changed_in_the_cache_is_fetched_again(hub: Internet) -> None:
    find_own_checkpoint(ADDRESS)
    (kept,) = Cache().files.glob("*.pth")
    kept.write_bytes(kept.read_bytes().replace(b"free", b"sold"))
    assert find_own_checkpoint(ADDRESS).licence == "free"
    assert paths(hub) == [PATH + "config.json"] * 2


def test_the_hub_of_the_environment_is_asked_instead(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example.org/hub/")
    files = {"/hub" + path: content for path, content in host_of(folder).files.items()}
    with online({HUB: Static({}), "mirror.example.org": Static(files)}) as internet:
        assert_same(reidhub.load(ADDRESS))
    assert paths(internet) == [] and len(paths(internet, "mirror.example.org")) == 2


def test_wrong_weights_of_the_hub_are_not_used(folder: Path) -> None:
    other_weights(folder)
    with online({HUB: host_of(folder)}), pytest.raises(FetchError, match=r"expected sha256 .*, got"):
        reidhub.load(ADDRESS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>Sign in</html>", "is not a config in JSON"),
        (b"{", "is not a config in JSON"),
        (b"", "is not a config in JSON"),
        (b'{"a": "' + b" " * LONGEST + b'"}', f"expected at most {LONGEST} bytes, and more keep coming"),
    ],
)
def test_an_answer_that_is_no_config_is_refused_and_not_kept(folder: Path, content: bytes, message: str) -> None:
    host = host_of(folder)
    good, host.files[PATH + "config.json"] = host.files[PATH + "config.json"], content
    with online({HUB: host}):
        with pytest.raises(ReidhubError, match=message):
            reidhub.load(ADDRESS)
        host.files[PATH + "config.json"] = good
        assert_same(reidhub.load(ADDRESS))


def test_a_commit_that_the_hub_does_not_have_is_an_error_with_a_hint() -> None:
    with online({HUB: status(401)}), pytest.raises(FetchError, match=r"config.json of hf://.*401") as caught:
        reidhub.load(ADDRESS)
    assert caught.value.hint
    with online({HUB: Static({})}), pytest.raises(FetchError, match=r"config.json of hf://.*404.*\nhint: check"):
        reidhub.load(ADDRESS)


def test_a_redirect_to_an_address_without_tls_is_not_followed() -> None:
    host = Static({}, redirects={PATH + "config.json": "http://example.org/config.json"})
    with online({HUB: host}), pytest.raises(FetchError, match="an address without TLS is not followed"):
        reidhub.load(ADDRESS)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://org/name", "got no revision\nhint: the files of a branch or tag can change, those of a commit cannot"),
        ("hf://org/name@main", "with the 40 hex digits of a commit, got the revision 'main'"),
        (f"hf://org/name@{COMMIT[:39]}", "got the revision"),
        (f"hf://org/name@{COMMIT.upper()}", "got the revision"),
        (f"hf://org/name@{COMMIT}/weights.safetensors", "got the revision"),
        (f"hf://name@{COMMIT}", "expected hf://ORG/NAME@COMMIT, got"),
        (f"hf://org/../../name@{COMMIT}", "expected hf://ORG/NAME@COMMIT, got"),
        (f"hf://../name@{COMMIT}", "expected hf://ORG/NAME@COMMIT, got"),
        (f"hf://org/na me?x=1@{COMMIT}", "expected hf://ORG/NAME@COMMIT, got"),
    ],
)
def test_an_address_without_a_commit_is_wrong_usage_and_says_why(address: str, message: str) -> None:
    with online({HUB: Static({})}) as internet, pytest.raises(UsageError, match=message):
        reidhub.load(address)
    assert paths(internet) == []


def test_an_address_is_written_as_it_is_read() -> None:
    address = HubAddress.of(ADDRESS)
    assert address is not None and str(address) == ADDRESS
    assert HubAddress.of("/home/hf/model") is HubAddress.of("hf.pth") is None
