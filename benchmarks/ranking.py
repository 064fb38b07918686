"""Measures an exact search for 100 queries in a large gallery, compared with FAISS's flat index.

    python benchmarks/ranking.py
    python benchmarks/ranking.py --images 100000 --device cuda

Each way runs in processes of its own, in alternation, with the same number of threads. Memory is the peak of such a
process, with the libraries and the gallery. "Folder" reads the embeddings from an embeddings folder of
`reidhub embed` on the disk, in parts, during the search. The index of FAISS gets its
memory before it is filled. FAISS is left out if it is not installed.
"""

import argparse
import importlib.util
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from side_by_side import print_table

from reidhub.devices import count_processors
from reidhub.metrics.nearest import NearestSearch
from reidhub.retrieval.embeddings_folder import EmbeddingsFolder
from reidhub.retrieval.plan import Shard
from reidhub.retrieval.ranking import Ranker
from reidhub.retrieval.tables import Part

D, TOP, SHARD = 512, 10, 1000
_UNIT = 2**20 if sys.platform == "darwin" else 2**10  # units of ru_maxrss in a MiB

Found = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Distances and indices, (Q, TOP)."""


def write_gallery(folder: Path, images: int) -> None:
    """Write random embeddings as one file of float32 and as an embeddings folder."""
    random = np.random.default_rng(0)
    with (folder / "gallery").open("wb") as file:
        for number, start in enumerate(range(0, images, SHARD)):
            count = min(SHARD, images - start)
            rows = random.standard_normal((count, D), np.float32)
            file.write(rows.tobytes())
            paths = [f"/images/{start + place:08d}.jpg" for place in range(count)]
            part = Part(paths, [None] * count, [None] * count, rows)
            EmbeddingsFolder(folder / "out").write(Shard(0, number, count), part, [], {})


def read_parts(folder: Path) -> Iterator[NDArray[np.float32]]:
    """Yield the gallery in parts."""
    with (folder / "gallery").open("rb") as file:
        while len(values := np.fromfile(file, np.float32, SHARD * D)):
            yield values.reshape(-1, D)


def make_faiss(folder: Path, queries: NDArray[np.float32], images: int, device: str) -> Callable[[], Found]:
    """Return FAISS's search in an `IndexFlatL2` that holds the gallery."""
    import faiss

    faiss.omp_set_num_threads(count_processors())
    index = faiss.IndexFlatL2(D)
    index.codes.resize(images * D * 4)  # else its memory doubles while it grows
    index.ntotal = images
    gallery = faiss.rev_swig_ptr(index.get_xb(), images * D).reshape(images, D)
    for number, rows in enumerate(read_parts(folder)):
        gallery[number * SHARD : number * SHARD + len(rows)] = rows
    return lambda: index.search(queries, TOP)


def make_reidhub(folder: Path, queries: NDArray[np.float32], images: int, device: str) -> Callable[[], Found]:
    """Return reidhub's search in a tensor that holds the gallery."""
    gallery, query = torch.empty(images, D, device=device), torch.from_numpy(queries).to(device)
    for number, rows in enumerate(read_parts(folder)):
        gallery[number * SHARD : number * SHARD + len(rows)] = torch.from_numpy(rows).to(device)

    def search() -> Found:
        nearest = NearestSearch(query, TOP)
        nearest.add(gallery)
        return nearest.distances.cpu().numpy(), nearest.places.cpu().numpy()

    return search


def make_folder(folder: Path, queries: NDArray[np.float32], images: int, device: str) -> Callable[[], Found]:
    """Return reidhub's ranking of an embeddings folder, which it reads from the disk."""
    ranker = Ranker(
        [f"{number}.jpg" for number in range(len(queries))], torch.from_numpy(queries).to(device), TOP, "euclidean"
    )

    def rank() -> Found:
        rankings = ranker.rank(EmbeddingsFolder(folder / "out").read_parts())
        distances = [[image.distance for image in ranking.images] for ranking in rankings]
        places = [[int(Path(image.path).stem) for image in ranking.images] for ranking in rankings]
        return np.array(distances, np.float32), np.array(places)

    return rank


WAYS = {"FAISS, flat": make_faiss, "reidhub": make_reidhub, "reidhub, folder": make_folder}


def run_alone(results: Any, way: str, folder: Path, given: argparse.Namespace) -> None:
    """Search several times; report the seconds of each search except the first, the peak memory, and the result."""
    torch.set_num_threads(count_processors())
    queries = np.random.default_rng(1).standard_normal((given.queries, D), np.float32)
    search = WAYS[way](folder, queries, given.images, given.device)
    seconds = []
    for _ in range(given.searches + 1):
        start = time.perf_counter()
        found = search()
        seconds.append(time.perf_counter() - start)
    results.put((seconds[1:], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _UNIT, found))


def measure(way: str, folder: Path, given: argparse.Namespace) -> tuple[list[float], float, Found]:
    """Run one way in a new process."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    process = context.Process(target=run_alone, args=(results, way, folder, given))
    process.start()
    measured: tuple[list[float], float, Found] = results.get()
    process.join()
    return measured


def main() -> None:
    """Print one row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each way")
    parser.add_argument("--searches", type=int, default=3, help="searches in each process")
    given = parser.parse_args()
    ways = [way for way in WAYS if "FAISS" not in way or importlib.util.find_spec("faiss")]
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    memory, found = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        write_gallery(Path(scratch), given.images)
        for _ in range(given.rounds):
            for way in ways:
                taken, memory[way], found[way] = measure(way, Path(scratch), given)
                seconds[way] += taken
    want = found["reidhub"]
    rows = []
    for way in ways:
        median = statistics.median(seconds[way])
        same = (found[way][1] == want[1]).mean()
        against = [statistics.median(seconds[ways[0]]), memory[ways[0]]]
        ratios = [f"{median / against[0]:.2f}", f"{memory[way] / against[1]:.2f}"] if "FAISS" in ways[0] else ["", ""]
        rows.append([way, f"{median:.2f}", ratios[0], f"{memory[way]:.0f}", ratios[1], f"{same:.1%}"])
    header = ["way", "seconds", "times FAISS", "memory, MiB", "times FAISS", "same images as reidhub"]
    title = f"{given.queries} queries in {given.images:,} x {D}: {given.device}, {count_processors()} threads"
    print_table(title, header, rows)


if __name__ == "__main__":
    main()
