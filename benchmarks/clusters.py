"""Measures `embed` on Ray clusters of one and of two nodes that share two cores of this machine.

    python benchmarks/clusters.py

Each node may only use its own cores, and has one worker. The first shard of a worker is not counted, because the worker
loads the model before it. Coordination is the share of the time in which a worker does not work on a shard.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from crops import market_like
from embedding import trained
from side_by_side import print_table

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from support.ray_clusters import RayCluster as Nodes

from reidhub.inference import Embedder
from reidhub.retrieval import ray_shards
from reidhub.retrieval.embedding_model import EmbeddingModel
from reidhub.retrieval.embeddings_folder import EmbeddingsFolder
from reidhub.retrieval.inputs.listing import list_inputs
from reidhub.retrieval.planning import extend_plan
from reidhub.zoo.checkpoint import Checkpoint, InputSpec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLUSTERS: dict[str, list[list[int]]] = {"1 of 1 core": [[0]], "1 of 2 cores": [[0, 1]], "2 of 1 core": [[0], [1]]}
COPIES = 250  # of a drawn crop, as links to its file


def make_model(architecture: str, checkpoint: Checkpoint | None = None) -> tuple[Embedder, EmbeddingModel]:
    """Make a model with random weights, and describe it."""
    model = trained(architecture)
    spec = InputSpec(*model.input_size, MEAN, STD, "bilinear")
    made = Embedder.of_model(model, spec)
    size = (spec.height, spec.width, MEAN, STD, "bilinear", "rgb", "fp32", made.dimensions, "euclidean")
    return made, EmbeddingModel("random", "0" * 64, architecture, *size)


class TimedWorker(ray_shards._Worker):
    """Notes when each shard begins and ends, in a file for each process."""

    def __call__(self, task: Any) -> int:
        """Embed a shard."""
        begin = time.monotonic()
        left = super().__call__(task)
        with (self._folder.path / f"times-{os.getpid()}").open("a") as file:
            file.write(f"{begin} {time.monotonic()}\n")
        return left


def measure(folder: Path, clusters: Sequence[Sequence[int]], architecture: str) -> tuple[float, float]:
    """Embed the crops; return images per second of all workers together, and the largest share of coordination."""
    out = EmbeddingsFolder(folder / f"out-{time.monotonic_ns()}")
    extend_plan(out, list_inputs([str(folder / "crops")]), update=False, by_image=False)
    make = partial(make_model, architecture)
    out.claim(make()[1])
    with Nodes() as nodes:
        os.environ.update(nodes.environment)
        for cores in clusters:
            nodes.start(folder / "home", cores)
        ray_shards.RayCluster(make, None, nodes.address, gpus=False).embed(out, out.plan.shards(), int)
    rates, shares = [], []
    for file in out.path.glob("times-*"):
        first, *rest = [tuple(map(float, line.split())) for line in file.read_text().splitlines()]
        wall = rest[-1][1] - first[1]
        rates.append(1000 * len(rest) / wall)
        shares.append(1 - sum(end - begin for begin, end in rest) / wall)
    return sum(rates), max(shares)


def main() -> None:
    """Print one row for each cluster and round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architecture", nargs="?", default="osnet_x0_25")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ray_shards._Worker = TimedWorker  # type: ignore[misc]
    os.environ.pop("OMP_NUM_THREADS", None)  # Ray sets it, to the number of a worker's processors
    title = f"Ray, {given.architecture} on the CPU, {given.shards} shards of 1,000 crops"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "crops").mkdir()
        (folder / "drawn").mkdir()
        for crop in market_like(folder / "drawn", given.shards * 1000 // COPIES):
            for copy in range(COPIES):
                (folder / "crops" / f"{copy:04d}-{crop.name}").hardlink_to(crop)
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for _ in range(given.rounds):
            for nodes, clusters in CLUSTERS.items():
                found[nodes].append(measure(folder, clusters, given.architecture))
        rows = (
            [nodes, *(f"{rate:.0f}" for rate, _ in rounds), f"{100 * max(share for _, share in rounds):.2f} %"]
            for nodes, rounds in found.items()
        )
        print_table(title, ["nodes", *["images/s"] * given.rounds, "coordination, at most"], rows)


if __name__ == "__main__":
    main()
