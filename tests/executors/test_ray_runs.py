"""`verify` and `embed` on a Ray of one raylet give what one process gives."""

import json
import subprocess
from pathlib import Path

import pytest
from support.verify_runs import SMALL, claim, command, entry, write_images, write_manifest, write_weights

pytest.importorskip("ray")
pytestmark = pytest.mark.long
NAME = "tiny.corridor"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The dataset; and a zoo with one checkpoint, and a short folder for Ray's sockets."""
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/reidhub-tests-ray")
    Path("/tmp/reidhub-tests-ray").mkdir(exist_ok=True)
    write_weights(tmp_path, NAME, 0)
    monkeypatch.setenv("REIDHUB_MANIFEST", str(write_manifest(tmp_path, entry(NAME, claim(rank1="10.0"), input=SMALL))))
    return write_images(tmp_path / "data")


def run(code: int, *arguments: object) -> str:
    done = subprocess.run(command(*map(str, arguments)), capture_output=True, text=True, timeout=200)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_the_receipt_is_the_same(tmp_path, data):
    verify = ("verify", NAME, "--data-root", data, "--device", "cpu", "--batch-size", "8", "--receipt")
    run(0, *verify, tmp_path / "one.json")
    run(0, *verify, tmp_path / "ray.json", "--executor", "ray")

    one, ray = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "ray.json"))
    assert one.pop("timing") and ray.pop("timing")
    assert one == ray


def test_an_image_that_cannot_be_decoded_gives_the_same_message(tmp_path, data):
    images = sorted((data / "corridor" / "bounding_box_test").iterdir())
    for broken in (images[20], images[30]):
        broken.write_bytes(b"no image")
    verify = ("verify", NAME, "--data-root", data, "--device", "cpu", "--batch-size", "2", "--journal")
    one = run(1, *verify, tmp_path / "j1")
    ray = run(1, *verify, tmp_path / "j2", "--executor", "ray")

    assert one == ray and images[20].name in one


def test_embed_writes_the_same_file_and_lists_the_same_unreadable_image(tmp_path, data):
    (data / "corridor" / "query" / "bad.jpg").write_bytes(b"no image")
    embed = ("embed", NAME, data / "corridor", "--device", "cpu", "-o")
    run(1, *embed, tmp_path / "one")
    run(1, *embed, tmp_path / "ray", "--executor", "ray")

    name = "embeddings-0000-000000.parquet"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes()
