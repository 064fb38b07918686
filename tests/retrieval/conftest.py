"""A checkpoint of the small architecture ``tiny``, and many small images with different pixels."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support import tiny_model
from support.verify_runs import INPUT, SMALL, entry, write_manifest, write_weights

from reidhub.demo import world
from reidhub.models import ARCHITECTURES

NAME = "tiny.corridor"
OTHER = "tiny.hall"


@pytest.fixture(autouse=True)
def tiny_zoo(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo with two checkpoints of ``tiny``, for this process and its subprocesses."""
    folder = tmp_path_factory.mktemp("zoo")
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny_model.ENTRY)
    for seed, name in enumerate((NAME, OTHER)):
        write_weights(folder, name, seed)
    manifest = write_manifest(folder, *(entry(name, "", input=SMALL) for name in (NAME, OTHER)))
    described = f"{{name: tiny, paper: none, starts_from: scratch, default: {NAME}, input: {INPUT}}}"
    manifest.write_text(f"architectures: [{described}]\n{manifest.read_text()}")
    monkeypatch.setenv("REIDHUB_MANIFEST", str(manifest))
    return folder


@pytest.fixture(scope="session")
def drawn() -> list[bytes]:
    """Twenty JPEG files of different people."""
    return [world.photograph(shot) for shot in world.list_shots("query")[:20]]


@pytest.fixture
def write_crops(drawn: list[bytes]) -> Callable[[Path, int], list[str]]:
    """A function that writes a number of JPEG files into a folder, and returns their paths in order."""

    def write(folder: Path, count: int) -> list[str]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{number:05d}.jpg" for number in range(count)]
        for number, path in enumerate(paths):
            path.write_bytes(drawn[number % len(drawn)])
        return [str(path) for path in paths]

    return write
