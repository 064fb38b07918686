"""Roboflow's ``reid`` loads the files that reidhub hands out and computes the same embeddings from the same images."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.zoo_entries import reidhub as run_reidhub

import reidhub
from reidhub.demo import DATA, FILE_NAME, MANIFEST, world

NAME = "osnet_x0_25.demo_world"
EMBED = """
import json, sys
from reid import ReIDModel
model = ReIDModel.from_pretrained(sys.argv[1], architecture="osnet_x0_25", device="cpu")
json.dump(model.extract_embeddings_from_paths(sys.argv[2:]).tolist(), sys.stdout)
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


def file_of_download(tmp_path: Path) -> Path:
    return Path(run_reidhub("download", NAME, "--format", "safetensors").stdout.strip())


def file_of_mirror(tmp_path: Path) -> Path:
    run_reidhub("mirror", tmp_path / "mirror", NAME)
    return tmp_path / "mirror" / f"{NAME}.pth"


@pytest.mark.parametrize("hand_out", [file_of_download, file_of_mirror])
def test_a_file_loads_there_and_gives_our_embeddings(hand_out, images, tmp_path):
    file = hand_out(tmp_path)
    command = [sys.executable, "-c", EMBED, str(file), *map(str, images)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr

    ours = reidhub.embedder(NAME, precision="exact", batch=len(images)).embed_files(images)
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), ours, rtol=1e-4, atol=1e-5)
