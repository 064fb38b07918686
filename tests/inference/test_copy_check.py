"""Converted copies are compared with the checkpoint's file: a forged copy with right checksums is found."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import tiny_model
from support.local_zoos import Entry, file_of, write_zoo

from reidhub.cache.conversions import read_conversion
from reidhub.cache.prune import StoredFile, list_stored
from reidhub.cache.store import Cache
from reidhub.download.fetch import fetch
from reidhub.inference import Embedder
from reidhub.inference.copy_check import find_wrong_copies
from reidhub.models import ARCHITECTURES
from reidhub.weights import read_weights
from reidhub.weights.load import build_with_weights
from reidhub.zoo.manifest import read_manifest

NAME = "tiny.one"


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    """The architecture ``tiny``, which is converted fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", tiny_model.ENTRY)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A manifest, and a cache with a checkpoint's file and its model for OpenVINO."""
    folder = tmp_path_factory.mktemp("made")
    manifest = write_zoo(folder, Entry(NAME, file_of("tiny", 5), classes=5))
    (checkpoint,) = read_manifest([Path(manifest)]).checkpoints
    path = fetch(checkpoint, Cache(folder / "cache"))
    model = build_with_weights(checkpoint, read_weights(path, layout=checkpoint.layout)).eval()
    Embedder.of_model(model, checkpoint.input, cached=path)
    return manifest, folder / "cache"


@pytest.fixture
def stored(made: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredFile:
    """The file in a copy of the cache, with a manifest that has its checkpoint."""
    manifest, cache = made
    monkeypatch.setenv("REIDHUB_MANIFEST", manifest)
    shutil.copytree(cache, tmp_path / "cache")
    (file,) = list_stored(Cache(tmp_path / "cache"))
    assert [path.suffix for path in file.copies] == [".zip"]
    return file


def forge(path: Path, old: bytes, new: bytes) -> None:
    """Change the files in a conversion, and write it with the right checksums."""
    kept = read_conversion(path)
    assert kept and (old in kept.xml or old in kept.weights)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.xml", kept.xml.replace(old, new, 1))
        archive.writestr("model.bin", kept.weights.replace(old, new, 1))


def test_a_model_for_openvino_that_was_not_changed_is_right(stored: StoredFile) -> None:
    assert find_wrong_copies(stored) == ()


@pytest.mark.parametrize("part", ["layers", pytest.param("weights", marks=pytest.mark.long)])
def test_a_forged_model_for_openvino_is_wrong_although_its_checksums_are_right(part: str, stored: StoredFile) -> None:
    kept = read_conversion(stored.copies[0])
    assert kept is not None
    old, new = (b'type="ReLU"', b'type="Sigm"') if part == "layers" else (kept.weights[64:80], bytes(16))
    forge(stored.copies[0], old, new)

    assert find_wrong_copies(stored) == stored.copies


def test_a_model_that_cannot_be_made_again_is_right_if_its_checksums_are(stored: StoredFile, monkeypatch) -> None:
    forge(stored.copies[0], b'type="ReLU"', b'type="Sigm"')
    monkeypatch.delenv("REIDHUB_MANIFEST")

    assert find_wrong_copies(stored) == ()

    stored.copies[0].write_bytes(stored.copies[0].read_bytes()[:-100])
    assert find_wrong_copies(stored) == stored.copies


def test_a_compressed_model_is_not_unpacked(stored: StoredFile) -> None:
    with zipfile.ZipFile(stored.copies[0], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.xml", "layers")
        archive.writestr("model.bin", bytes(10_000_000))

    assert read_conversion(stored.copies[0]) is None
    assert find_wrong_copies(stored) == stored.copies
