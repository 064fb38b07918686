"""`verify` and `embed` on a Ray cluster of two nodes give what one machine gives, whatever is killed."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.ray_clusters import RayCluster
from support.verify_runs import SMALL, claim, command, entry, write_images, write_manifest, write_weights

pytest.importorskip("ray")
pytestmark = pytest.mark.long
NAME = "tiny.corridor"
SMALL_SHARDS = "from reidhub.verification import ray_passes; ray_passes._SHARD = 8"
COPIES = 110  # of each image of the dataset, for `embed`; together 6 shards


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, many crops, and a manifest with one checkpoint."""
    folder = tmp_path_factory.mktemp("world")
    images = sorted(write_images(folder / "data").rglob("*.jpg"))
    (folder / "crops").mkdir()
    for copy in range(COPIES):
        for number, image in enumerate(images):
            (folder / "crops" / f"{copy:03d}-{number:03d}.jpg").hardlink_to(image)
    write_weights(folder, NAME, 0)
    write_manifest(folder, entry(NAME, claim(rank1="10.0"), input=SMALL))
    return folder


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """Two nodes; each has a cache of its own without weights."""
    with RayCluster() as cluster:
        cluster.start(tmp_path_factory.mktemp("head"))
        cluster.start(tmp_path_factory.mktemp("second"))
        yield cluster


@dataclass(frozen=True)
class Programs:
    """Runs commands of `reidhub` on one machine, or on a cluster."""

    world: Path
    cluster: RayCluster
    out: Path

    def embed(self, name: str, *options: str) -> "subprocess.Popen[str]":
        return self.start("embed", NAME, self.world / "crops", "--device", "cpu", "-o", self.out / name, *options)

    def verify(self, name: str, *options: str) -> "subprocess.Popen[str]":
        data = ("--data-root", self.world / "data", "--device", "cpu", "--batch-size", "4")
        written = ("--journal", self.out / f"{name}.journal", "--receipt", self.out / f"{name}.json")
        return self.start("verify", NAME, *data, *written, *options)

    def start(self, *arguments: object) -> "subprocess.Popen[str]":
        python, option, script, *rest = command(*map(str, arguments))
        return subprocess.Popen(
            [python, option, f"{SMALL_SHARDS}\n{script}", *rest],
            env=os.environ | self.cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def on_cluster(self) -> tuple[str, ...]:
        return "--executor", "ray", "--address", self.cluster.address

    def read_embeddings(self, name: str) -> list[tuple[str, bytes]]:
        """Return the path and the bytes of the embedding of each image, in the order of the files."""
        table = pq.read_table(sorted((self.out / name).glob("embeddings-*")), columns=["path", "embedding"])
        paths = table.column("path").to_pylist()
        rows = table.column("embedding").combine_chunks().values.to_numpy().reshape(len(paths), -1)
        return [(path, row.tobytes()) for path, row in zip(paths, rows, strict=True)]

    def read_receipt(self, name: str) -> Any:
        receipt = json.loads((self.out / f"{name}.json").read_text())
        assert receipt.pop("timing")
        return receipt


@pytest.fixture
def programs(world: Path, nodes: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("REIDHUB_MANIFEST", str(world / "zoo.yaml"))
    return Programs(world, nodes, tmp_path)


def finish(process: "subprocess.Popen[str]", code: int = 0) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return out + err


def wait_for(condition: Callable[[], object], running: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 120
    while not condition() and running.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.05)


def list_workers(cluster: RayCluster) -> list[int]:
    return [pid for node in cluster.nodes for pid in cluster.list_workers(node)]


def check_that_no_worker_is_left(cluster: RayCluster) -> None:
    end = time.monotonic() + 30
    while list_workers(cluster):
        assert time.monotonic() < end
        time.sleep(0.2)


def test_nodes_without_weights_compute_the_same_embeddings_and_receipt(programs, world):
    finish(programs.embed("one"))
    finish(programs.verify("one"))
    checkpoint = world / f"{NAME}.pth"
    hidden = checkpoint.rename(world / "hidden")  # from here on, only the cache of this machine has the file
    try:
        finish(programs.embed("ray", *programs.on_cluster))
        finish(programs.verify("ray", *programs.on_cluster))
    finally:
        hidden.rename(checkpoint)

    assert programs.read_embeddings("ray") == programs.read_embeddings("one")
    assert programs.read_receipt("ray") == programs.read_receipt("one")
    assert all(list(home.rglob("*.pth")) for home in programs.cluster.homes)
    check_that_no_worker_is_left(programs.cluster)


def test_images_that_cannot_be_decoded_are_told_as_on_one_machine(world, nodes, tmp_path, monkeypatch):
    monkeypatch.setenv("REIDHUB_MANIFEST", str(world / "zoo.yaml"))
    images = sorted((write_images(tmp_path / "data") / "corridor" / "bounding_box_test").iterdir())
    for broken in (images[20], images[30]):
        broken.write_bytes(b"no image")
    (tmp_path / "crops").symlink_to(tmp_path / "data")
    programs = Programs(tmp_path, nodes, tmp_path)

    one, ray = (finish(programs.verify(name, *how), 1).replace(f"/{name}", "") for name, how in both(programs))
    assert one == ray and images[20].name in one and images[30].name not in one
    one, ray = (finish(programs.embed(name, *how), 1).replace(f"/{name}", "") for name, how in both(programs))
    assert images[20].name in one and images[30].name in one
    assert one == ray
    assert programs.read_embeddings("one") == programs.read_embeddings("ray")


def both(programs: Programs) -> list[tuple[str, tuple[str, ...]]]:
    return [("one", ()), ("ray", programs.on_cluster)]


@pytest.mark.parametrize("victim", ["worker", "node"])
@pytest.mark.parametrize(("job", "seconds"), [("embed", 4), ("verify", 2)])
def test_ten_losses_lose_nothing_and_count_nothing_twice(programs, victim, job, seconds, tell, tmp_path_factory):
    start, read = getattr(programs, job), programs.read_embeddings if job == "embed" else programs.read_receipt
    finish(start("one"))
    wanted, chance, losses, cluster = read("one"), random.Random(18), 0, programs.cluster
    begin = time.monotonic()
    for number in range(10):
        running = start(f"ray{number}", *programs.on_cluster)
        wait_for(lambda: len(list_workers(cluster)) >= 2, running)
        time.sleep(chance.uniform(0, seconds))
        losses += running.poll() is None
        if victim == "worker":
            for pid in cluster.list_workers(chance.choice(cluster.nodes)):
                os.kill(pid, signal.SIGKILL)
        else:
            cluster.stop(cluster.nodes[-1])
        said = finish(running)
        assert read(f"ray{number}") == wanted
        assert "raylet" not in said  # Ray itself prints nothing
        assert job == "verify" or "embedded 5,940 of 5,940 planned images now" in said
        if victim == "node":
            cluster.start(tmp_path_factory.mktemp("again"))
    tell(f"{job}: {losses} of 10 losses of a {victim} during the run, {time.monotonic() - begin:.0f} s")
    assert losses >= 7
    check_that_no_worker_is_left(cluster)


@pytest.mark.parametrize(("job", "seconds"), [("embed", 4), ("verify", 2)])
def test_a_killed_driver_is_started_again_and_goes_on(programs, job, seconds, tell):
    start, read = getattr(programs, job), programs.read_embeddings if job == "embed" else programs.read_receipt
    finish(start("one"))
    wanted, chance, losses = read("one"), random.Random(81), 0
    for number in range(3):
        running = start(f"ray{number}", *programs.on_cluster)
        wait_for(lambda: len(list_workers(programs.cluster)) >= 2, running)
        time.sleep(chance.uniform(0, seconds))
        losses += running.poll() is None
        running.kill()
        running.communicate()
        finish(start(f"ray{number}", *programs.on_cluster))
        assert read(f"ray{number}") == wanted
    tell(f"{job}: {losses} of 3 drivers killed during the run")
    assert losses >= 2
    check_that_no_worker_is_left(programs.cluster)
