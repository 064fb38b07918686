"""A first load needs the memory of the weights once, also for files of trainers, which are three times as large."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.hostile_files import saved
from support.local_zoos import Entry, file_of, write_zoo
from support.trainers import make_trainer_file

import reidhub
from reidhub.errors import WeightsError
from reidhub.weights.containers import open_container

FACTOR = 1.5  # a first load takes at most this many times the bytes of the weights
FORMATS = {"legacy": {"_use_new_zipfile_serialization": False}, "zip": {}}

PROGRAM = """
import os
import sys
import time

import torch

import reidhub

def count_anonymous_bytes(process):
    with open(f"/proc/{process}/status") as status:
        rows = (line.split() for line in status)
        return sum(int(row[1]) * 1024 for row in rows if row[0] == "RssAnon:")

def load(name):
    model = reidhub.load(name)
    os._exit(0 if len(model.state_dict()) > 10 else 1)

def measure(name):
    before, most, ended = count_anonymous_bytes(os.getpid()), 0, 0
    child = os.fork() or load(name)
    while not ended:
        most = max(most, count_anonymous_bytes(child))
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.001)
    assert status == 0, status
    return most - before

torch.set_num_threads(1)  # a forked process hangs with more
reidhub.load("osnet_x0_25.own")  # imports all that a load needs
print(*map(measure, sys.argv[1:]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from Linux' /proc")
@pytest.mark.parametrize(
    ("architecture", "classes"),
    [("mobilenetv2_x1_4", 751), pytest.param("resnet50", 751, marks=pytest.mark.long)],
    ids=["a file of 70 MB", "a file of 300 MB"],
)
def test_a_first_load_needs_little_more_memory_than_the_weights(architecture, classes, tmp_path, monkeypatch, tell):
    content = make_trainer_file(architecture, classes)
    size = sum(tensor.nbytes for tensor in content["model"].values())
    entries = [Entry("osnet_x0_25.own", file_of("osnet_x0_25", 5))]
    for form, how in FORMATS.items():
        torch.save(content, path := tmp_path / f"{architecture}.{form}.pth", **how)
        assert path.stat().st_size > 2.9 * size
        entries.append(Entry(f"{architecture}.{form}", path.read_bytes()))
    del content
    monkeypatch.setenv("REIDHUB_MANIFEST", write_zoo(tmp_path, *entries))

    names = [entry.name for entry in entries[1:]]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    peaks = dict(zip(FORMATS, map(int, done.stdout.split()), strict=True))
    tell(", ".join(f"{form}: {peak / size:.2f} times the weights" for form, peak in peaks.items()))
    assert all(0.9 * size < peak < FACTOR * size for peak in peaks.values()), (size, peaks)
    converted = list(Path(os.environ["REIDHUB_HOME"]).rglob("*.safetensors"))
    assert sum(path.stat().st_size > size for path in converted) == len(FORMATS), "the conversions were written"


@pytest.mark.parametrize("form", FORMATS)
def test_the_state_of_an_optimizer_does_not_change_the_weights_that_are_read(form, tmp_path):
    content = make_trainer_file("osnet_x0_25", 5)
    torch.save(content, tmp_path / "large.pth", **FORMATS[form])

    read = reidhub.read_weights(tmp_path / "large.pth")

    assert list(read) == list(content["model"])
    assert all(torch.equal(read[name], tensor) for name, tensor in content["model"].items())
    loaded = reidhub.load(tmp_path / "large.pth", architecture="osnet_x0_25").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in content["model"].items())


def test_tensors_of_a_file_that_becomes_shorter_while_it_is_read_are_refused(tmp_path):
    """The memory of a tensor is not cleared before its bytes are read."""
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(saved({"a": torch.ones(100_000)}, legacy=True))
    with open_container(path, "ascii") as container:
        os.truncate(path, path.stat().st_size - 4)
        with pytest.raises(WeightsError, match=r"the bytes of storage .* are missing, or too few"):
            container.read_elements(container.content["a"].storage, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_one_value_that_is_not_finite_is_found_at_every_place(dtype, value, tmp_path):
    path = tmp_path / "checkpoint.pth"
    for place in (0, 1, 17, 998):
        tensor = torch.linspace(-2, 2, 999).to(dtype)
        tensor[place] = float(value)
        path.write_bytes(saved({"w": tensor}))
        with pytest.raises(WeightsError, match="tensor 'w' holds NaN or infinity"):
            reidhub.read_weights(path)
