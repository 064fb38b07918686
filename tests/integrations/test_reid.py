"""Roboflow's ``reid`` loads what reidhub hands out and computes the same embeddings from the same images."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.local_zoos import file_of
from support.zoo_entries import reidhub as run_reidhub

import reidhub
from reidhub.demo import DATA, FILE_NAME, MANIFEST, world
from reidhub.exporters.model_card import KNOWN_TO_REID, write_card
from reidhub.models import ARCHITECTURES
from reidhub.zoo.manifest import zoo

NAME = "osnet_x0_25.demo_world"
EMBED = """
import json, sys
from reid import ReIDModel
model = ReIDModel.from_pretrained(sys.argv[1], architecture="osnet_x0_25", device="cpu")
json.dump(model.extract_embeddings_from_paths(sys.argv[2:]).tolist(), sys.stdout)
"""

EMBED_FOLDERS = """
import json, sys, warnings
from pathlib import Path
from reid import ReIDModel
warnings.simplefilter("error")  # reid only warns about weights that do not fit
folders, images = sys.argv[1].split(","), sys.argv[2:]
models = [ReIDModel.from_pretrained(folder, device="cpu") for folder in folders]
json.dump([model.extract_embeddings_from_paths(images).tolist() for model in models], sys.stdout)
"""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("reid") is None, reason="the package reid is missing; `make test-integrations` installs it"
)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Images of the demo world; its checkpoint is in the cache."""
    monkeypatch.setenv("REIDHUB_MANIFEST", str(DATA / MANIFEST))
    added = run_reidhub("cache", "add", DATA / FILE_NAME)
    assert added.returncode == 0, added.stderr
    paths = []
    for shot in world.list_shots("query")[:8]:
        paths.append(tmp_path / shot.file_name)
        paths[-1].write_bytes(world.photograph(shot))
    return paths


def embed_there(program: str, *arguments: str | Path) -> torch.Tensor:
    """Run a program in a process of its own, and return the embeddings that it prints."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return torch.tensor(json.loads(done.stdout))


def file_of_download(tmp_path: Path) -> Path:
    return Path(run_reidhub("download", NAME, "--format", "safetensors").stdout.strip())


def file_of_mirror(tmp_path: Path) -> Path:
    run_reidhub("mirror", tmp_path / "mirror", NAME)
    return tmp_path / "mirror" / f"{NAME}.pth"


@pytest.mark.parametrize("hand_out", [file_of_download, file_of_mirror])
def test_a_file_loads_there_and_gives_our_embeddings(hand_out, images, tmp_path):
    file = hand_out(tmp_path)
    theirs = embed_there(EMBED, file, *images)

    ours = reidhub.embedder(NAME, precision="exact", batch=len(images)).embed_files(images)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


def test_the_folders_of_the_plain_osnets_give_our_embeddings_there(images, tmp_path):
    folders = []
    for number, architecture in enumerate(KNOWN_TO_REID):
        file = tmp_path / f"{architecture}.pth"
        file.write_bytes(file_of(architecture, 3, seed=number))
        folders.append(tmp_path / "folders" / architecture)
        done = run_reidhub("publish", file, folders[-1])
        assert done.returncode == 0, done.stderr

    theirs = embed_there(EMBED_FOLDERS, ",".join(map(str, folders)), *images)

    for folder, there in zip(folders, theirs, strict=True):
        for source in (folder, tmp_path / f"{folder.name}.pth"):
            ours = reidhub.embedder(source, precision="exact", batch=len(images)).embed_files(images)
            torch.testing.assert_close(there, ours, rtol=1e-4, atol=1e-5)


def test_the_architectures_that_the_card_names_are_those_that_reid_knows():
    from reid.architectures import list_architectures

    assert set(KNOWN_TO_REID) == ARCHITECTURES.keys() & set(list_architectures())


def test_the_hub_reads_the_scores_of_our_cards():
    from huggingface_hub import ModelCard

    for checkpoint in zoo().checkpoints:
        data = ModelCard(write_card(checkpoint)).data
        read = {(r.dataset_type, r.metric_type): r.metric_value for r in data.eval_results or ()}
        wanted = {(s.dataset, metric): float(value) for s in checkpoint.scores for metric, value in s.values.items()}
        assert read == wanted and (data.license_link, data.library_name) == ("LICENSE.md", "reidhub")
