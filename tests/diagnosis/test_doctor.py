"""What a stray file is: every trap that was seen in the wild, and files that were made to do harm."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from support.architectures import EVERY
from support.hostile_files import hostile_files, saved, zip_of
from support.local_zoos import Entry, file_of, state_of, write_zoo
from support.paths import shared
from support.verify_runs import run_here

import reidhub
from reidhub.diagnosis import FORMATS
from reidhub.errors import WeightsError
from reidhub.testing.hosts import mega_link
from reidhub.zoo.manifest import zoo

PAGE = b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>" + bytes(b" " * 3000)
PINNED = next(c for c in zoo().checkpoints if c.name == "osnet_x1_0.imagenet")
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{PINNED.artifact.digest}\nsize 10910553\n".encode()


@pytest.fixture
def stray(tmp_path: Path):
    """Writes a file of some name and content."""

    def write(content: bytes, name: str = "stray.pth") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_size_and_digest_are_those_of_the_file(stray):
    found = reidhub.doctor(stray(b"anything"))

    assert (found.size, found.sha256) == (8, hashlib.sha256(b"anything").hexdigest())


@pytest.mark.parametrize("architecture", EVERY)
def test_every_architecture_is_known_by_names_and_shapes(stray, architecture):
    found = reidhub.doctor(stray(file_of(architecture, 751, legacy=True)))

    assert (found.format, found.num_classes) == ("legacy", 751)
    fitting = (found.architecture, *found.twins)
    assert architecture in fitting
    assert found.training_sets == ("market1501",)
    assert found.loadable and found.nearest is None
    assert set(found.candidates) == {
        c.name for c in zoo().checkpoints if c.model in fitting and c.spec.num_classes == 751
    }


@pytest.mark.parametrize(
    ("classes", "training_sets", "could_be"),
    [
        (751, ("market1501",), {"osnet_x0_25.market1501"}),
        (702, ("dukemtmcreid",), {"osnet_x0_25.dukemtmcreid"}),
        (1041, ("msmt17",), {"osnet_x0_25.msmt17"}),
        (4101, ("msmt17 (all images of it)",), {"osnet_x0_25.msmt17_combineall"}),
        (1000, ("imagenet",), {"osnet_x0_25.imagenet"}),
        (767, ("cuhk03",), set()),
        (1234, (), set()),
    ],
)
def test_two_files_of_one_name_are_told_apart_by_the_classifiers_rows(stray, classes, training_sets, could_be):
    found = reidhub.doctor(stray(file_of("osnet_x0_25", classes), "osnet_x0_25_msmt17.pt"))

    assert found.training_sets == training_sets
    assert set(found.candidates) == could_be
    claims = [note for note in found.notes if "its name is that of osnet_x0_25.msmt17 (1041 classes)" in note]
    assert len(claims) == (classes != 1041)
    assert all(f"has {classes} classes" in note for note in claims)


def test_number_that_no_dataset_has_may_be_a_multi_source_files(stray):
    found = reidhub.doctor(stray(file_of("osnet_x1_0", 2494)))

    assert found.training_sets == ()
    assert "osnet_x1_0.ms_d_m" in found.candidates and "osnet_x1_0.msmt17" not in found.candidates
    assert "osnet_x1_0.ms_d_c" not in found.candidates  # it has 2510


@pytest.mark.parametrize("architecture", ["osnet_x1_0", "osnet_ain_x1_0"])
def test_number_of_ms_d_c_names_its_three_training_sets(architecture, stray):
    found = reidhub.doctor(stray(file_of(architecture, 2510)))

    assert found.training_sets == ("msmt17 + dukemtmcreid + cuhk03",)
    assert found.candidates == (f"{architecture}.ms_d_c",)


def test_imagenet_weights_under_a_re_id_name_are_told(stray):
    found = reidhub.doctor(stray(file_of("osnet_x1_0", 1000), "osnet_x1_0_market1501.pt"))

    assert found.loadable
    assert any("cannot identify anyone" in note for note in found.notes)
    assert any("name is that of osnet_x1_0.market1501 (751 classes), but it has 1000" in note for note in found.notes)


def test_re_id_weights_under_an_imagenet_name_are_told(stray):
    found = reidhub.doctor(stray(file_of("osnet_x1_0", 751), "osnet_x1_0_imagenet.pth"))

    assert not any("cannot identify anyone" in note for note in found.notes)
    assert any("name is that of osnet_x1_0.imagenet (1000 classes), but it has 751" in note for note in found.notes)


def test_another_architecture_than_the_name_says_is_told(stray):
    found = reidhub.doctor(stray(file_of("osnet_x0_25", 751), "osnet_x1_0_market1501.pth"))

    assert "its name is that of osnet_x1_0.market1501, but it contains osnet_x0_25" in found.notes


@pytest.mark.parametrize("name", ["imagenet", "market1501", "msmt17"])
def test_published_file_is_known_by_its_digest_whatever_it_is_called(real_weights, stray, name):
    content = (real_weights / f"osnet_x0_25_{name}.pth").read_bytes()

    found = reidhub.doctor(stray(content, "a.bin"))

    assert (found.entries, found.known_by, found.candidates) == ((f"osnet_x0_25.{name}",), "sha256", ())
    assert found.loadable


def test_published_weights_saved_again_are_candidates_and_not_the_file(real_weights, stray):
    state = torch.load(real_weights / "osnet_x0_25_market1501.pth", weights_only=True)

    found = reidhub.doctor(stray(saved(state)))

    assert (found.entries, found.candidates) == ((), ("osnet_x0_25.market1501",))
    assert any("not those published as osnet_x0_25.market1501" in note for note in found.notes)


@pytest.mark.parametrize("readable", [True, False])
def test_unpinned_file_is_known_by_the_mac_in_its_link(stray, tmp_path, monkeypatch, readable):
    content = file_of("osnet_x0_25", 9) if readable else b"\x80\x02 not readable" * 30_000
    own = Entry("osnet_x0_25.mine", content, classes=9, pinned=False, mega=mega_link("AbCdEfGh", content))
    monkeypatch.setenv("REIDHUB_MANIFEST", write_zoo(tmp_path, own))

    found = reidhub.doctor(stray(content))
    other = reidhub.doctor(stray(file_of("osnet_x0_25", 9, seed=1)))

    assert (found.entries, found.known_by, found.loadable) == (("osnet_x0_25.mine",), "mega-mac", readable)
    assert (other.entries, other.candidates) == ((), ("osnet_x0_25.mine",))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("root", ["", "state_dict", "net"])
def test_nesting_and_prefixes_that_load_are_told(stray, root, prefix):
    state = {prefix + name: tensor for name, tensor in state_of("osnet_x0_25", 3).items()}

    found = reidhub.doctor(stray(saved({root: state, "epoch": 60} if root else state)))

    assert found.loadable and found.architecture == "osnet_x0_25"
    assert (found.wrapping.root, found.wrapping.prefix, found.wrapping.latin1) == (root, prefix, False)


def test_prefix_of_a_wrapping_module_is_named_and_a_manifest_entry_with_it_loads(stray, tmp_path, monkeypatch):
    content = saved({"state_dict": {f"model.{name}": t for name, t in state_of("osnet_x0_25", 3).items()}})

    found = reidhub.doctor(stray(content))

    assert (found.architecture, found.num_classes, found.loadable) == ("osnet_x0_25", 3, True)
    assert found.wrapping.prefix == "model."
    own = Path(write_zoo(tmp_path, Entry("osnet_x0_25.mine", content)))
    own.write_text(own.read_text().replace("file: {", "file: {layout: {strip_prefix: 'model.'}, "))
    monkeypatch.setenv("REIDHUB_MANIFEST", str(own))
    assert reidhub.load("osnet_x0_25.mine").num_classes == 3
    assert reidhub.doctor(stray(content)).loadable


def test_network_beside_other_tensors_is_found(stray):
    state = {f"backbone.{name}": tensor for name, tensor in state_of("osnet_x0_25", 3).items()}

    found = reidhub.doctor(stray(saved({**state, "tracker.weight": torch.ones(2)})))

    assert found.problem == "it holds osnet_x0_25 under 'backbone.', and 1 other tensors"


def test_what_does_not_fit_the_nearest_architecture_is_listed(stray):
    state = state_of("osnet_ibn_x1_0", 751)
    state["extra.weight"] = torch.zeros(3)
    del state["conv1.conv.weight"]

    found = reidhub.doctor(stray(saved(state)))

    assert (found.architecture, found.nearest, found.loadable) == (None, "osnet_ibn_x1_0", False)
    lines = [line.split(maxsplit=2) for line in found.problem.splitlines()]
    assert lines[0][:2] == ["osnet_ibn_x1_0:", "2"]
    assert lines[1:] == [["missing", "conv1.conv.weight", "(64, 3, 7, 7)"], ["unexpected", "extra.weight", "(3,)"]]


def test_classifier_of_another_width_than_the_embedding_is_listed(stray):
    state = state_of("osnet_x0_25", 751)
    state["classifier.weight"] = torch.zeros(751, 256)

    found = reidhub.doctor(stray(saved(state)))

    assert found.architecture == "osnet_x0_25" and not found.loadable
    assert "classifier.weight  expected (751, 512), got (751, 256)" in found.problem


def test_backbone_without_its_classifier_loads_and_is_told(stray):
    state = {n: t for n, t in state_of("osnet_x0_25", 1).items() if not n.startswith("classifier")}

    found = reidhub.doctor(stray(saved(state)))

    assert (found.architecture, found.num_classes, found.loadable) == ("osnet_x0_25", None, True)
    assert any("without its classifier" in note for note in found.notes)


def test_torchvisions_resnet_is_told_as_the_start_it_is(stray):
    found = reidhub.doctor(stray(saved(torchvision.models.resnet50().state_dict())))

    assert (found.architecture, found.nearest) == (None, "resnet50")
    assert "reidhub.load('resnet50', 'imagenet', num_classes=...)" in found.hint


def test_counts_that_old_files_lack_are_no_difference(stray):
    state = {n: t for n, t in state_of("osnet_x0_25", 3).items() if not n.endswith("num_batches_tracked")}

    found = reidhub.doctor(stray(saved(state, legacy=True)))

    assert found.loadable and found.architecture == "osnet_x0_25"


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    return file.getvalue()


@pytest.mark.parametrize(
    ("format", "content", "said"),
    [
        ("empty", b"", "got 0 bytes"),
        ("page", PAGE, f'got {len(PAGE)} bytes of text/html ("Google Drive - Quota exceeded")'),
        ("page", b'{"error": "quota"}', "application/json"),
        ("lfs-pointer", POINTER, "Git LFS"),
        ("torchscript", zip_of({"code/__torch__.py": b"", "data.pkl": b"", "constants.pkl": b""}), "TorchScript"),
        ("archive", zip_of({"word/document.xml": b""}), "not one of torch.save"),
        ("tar", tar(), "tar archive"),
        ("pickle", pickle.dumps({"w": [1.0]}), "not one of torch.save"),
        ("zip", saved(torch.nn.Linear(2, 2)), "object of the class 'torch.nn.modules.linear.Linear'"),
        ("legacy", saved(torch.nn.Linear(2, 2), legacy=True), "object of the class 'torch.nn.modules"),
        ("gzip", b"\x1f\x8b\x08" + bytes(100), "none of the formats of checkpoints"),
        ("unknown", b"\x00\x01" * 100, "none of the formats of checkpoints"),
    ],
    ids=lambda value: value if isinstance(value, str) and value in FORMATS else "",
)
def test_file_that_is_no_checkpoint_is_told(stray, format, content, said):
    found = reidhub.doctor(stray(content))

    assert found.format == format and not found.loadable
    assert said in found.problem
    assert (found.tensors, found.architecture, found.candidates) == (0, None, ())


@pytest.mark.parametrize("content", [b"", PAGE, POINTER])
def test_page_or_placeholder_called_like_a_checkpoint_says_what_to_fetch(stray, content):
    found = reidhub.doctor(stray(content, "osnet_x1_0_market1501.pth"))

    assert "`reidhub download osnet_x1_0.market1501`" in found.hint


def test_pointer_says_to_which_checkpoint_it_points(stray):
    (note,) = reidhub.doctor(stray(POINTER)).notes

    assert note.startswith("it points to sha256") and note.endswith("which is osnet_x1_0.imagenet")


def test_safetensors_file_is_told(stray, tmp_path):
    save_file(state_of("osnet_x0_25", 3), tmp_path / "a.safetensors")

    found = reidhub.doctor(tmp_path / "a.safetensors")

    assert (found.format, found.architecture, found.loadable) == ("safetensors", "osnet_x0_25", True)


@pytest.mark.parametrize(("original", "said"), [("0" * 64, f"sha256 {'0' * 64}"), (None, "osnet_x1_0.imagenet")])
def test_safetensors_file_that_says_what_it_was_converted_from_is_quoted_not_believed(tmp_path, original, said):
    original = original or reidhub.find("osnet_x1_0.imagenet")[0].artifact.digest.hex
    save_file(state_of("osnet_x1_0", 1000), tmp_path / "a.safetensors", metadata={"sha256_of_original": original})

    found = reidhub.doctor(tmp_path / "a.safetensors")

    assert found.entries == ()
    assert f"it says that it was converted from {said}; its bytes do not prove it" in found.notes


def test_old_files_are_told_with_their_wrapping_and_python():
    python2 = reidhub.doctor(shared("checkpoint_files") / "py27_npscalar.pth.tar")
    python3 = reidhub.doctor(shared("checkpoint_files") / "t101_npsched.pth.tar")

    assert (python2.wrapping.root, python2.wrapping.prefix) == ("state_dict", "module.")
    assert (python2.wrapping.latin1, python3.wrapping.latin1) == (True, False)
    assert any("Python 2" in note for note in python2.notes)
    assert "no architecture of the zoo resembles its 11 tensors: conv.weight (8, 3, 3, 3)" in python2.problem
    assert python2.nearest is None


def test_no_file_that_was_made_to_do_harm_does_any(stray, tmp_path):
    marker = tmp_path / "ran"

    for name, content in hostile_files(marker):
        found = reidhub.doctor(stray(content))
        assert not found.loadable and found.format in FORMATS, name
        assert not marker.exists(), name


def test_file_of_forty_thousand_names_is_told_as_well(stray):
    tensor = torch.zeros(1)

    found = reidhub.doctor(stray(saved({f"a{n}.b{n}.c": tensor for n in range(40_000)})))

    assert (found.tensors, found.nearest) == (40_000, None)


@pytest.mark.parametrize("beside", [{}, state_of("osnet_x0_25", 2)], ids=["alone", "beside weights"])
def test_names_in_a_file_never_reach_a_terminal_as_they_are(stray, beside):
    found = reidhub.doctor(stray(saved({"\x1b[2J\x07.w": torch.ones(1), **beside, "\x1b.x": torch.ones(1)})))

    assert "\x1b" not in found.problem and "\x07" not in found.problem


def test_classifier_of_rows_without_end_is_a_misfit(stray):
    state = {**state_of("osnet_x0_25", 2), "classifier.weight": torch.empty(1 << 39, 0)}

    assert "classifier.weight" in reidhub.doctor(stray(saved(state))).problem


@pytest.mark.parametrize("kind", ["absent", "folder", "pipe", "forbidden", "zero byte", "too long"])
def test_what_cannot_be_opened_is_an_error(tmp_path, kind):
    path = tmp_path / {"zero byte": "\0", "too long": "y" * 999}.get(kind, "x")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "forbidden":
        path.write_bytes(b"x")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")

    with pytest.raises(WeightsError, match="cannot be read: "):
        reidhub.doctor(path)


def reidhub_doctor(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "reidhub", "doctor", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_command_says_it_all_and_succeeds_where_every_file_loads(stray, monkeypatch, capsys):
    good = stray(file_of("osnet_x0_25", 702), "good.pth")
    bad = stray(POINTER, "bad.pth")

    alone = reidhub_doctor(good)
    both = run_here(monkeypatch, capsys, "doctor", str(good), str(bad), "--json")

    assert (alone.returncode, alone.stderr) == (0, "")
    assert "architecture  osnet_x0_25" in alone.stdout and "702: dukemtmcreid" in alone.stdout
    assert both.returncode == 1
    first, second = json.loads(both.stdout)
    assert (first["loadable"], first["architecture"], first["num_classes"]) == (True, "osnet_x0_25", 702)
    assert (second["loadable"], second["format"]) == (False, "lfs-pointer")


def test_command_tells_of_the_other_files_where_one_cannot_be_read(stray, tmp_path, monkeypatch, capsys):
    good = stray(file_of("osnet_x0_25", 702), "good.pth")

    files = "doctor", str(tmp_path / "none.pth"), str(good)
    text, data = run_here(monkeypatch, capsys, *files), run_here(monkeypatch, capsys, *files, "--json")

    assert text.returncode == data.returncode == 1
    assert "architecture  osnet_x0_25" in text.stdout
    assert [found["architecture"] for found in json.loads(data.stdout)] == ["osnet_x0_25"]
    assert text.stderr == data.stderr and "none.pth' cannot be read" in text.stderr


def test_command_without_a_file_that_exists_fails_in_words(tmp_path):
    done = reidhub_doctor(tmp_path / "none.pth")

    assert done.returncode == 1 and "none.pth' cannot be read: No such file" in done.stderr
    assert "Traceback" not in done.stderr
