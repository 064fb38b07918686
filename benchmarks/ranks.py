"""Time of CMC and mAP at the size of a published dataset, beside the bare matrix product of the same embeddings.

    python benchmarks/ranks.py msmt17
    python benchmarks/ranks.py market1501 --device cuda

Random embeddings are the slow case: matches are spread over the whole ranking, and many distances are close together.
"""

import argparse
import resource
import time
from collections.abc import Callable

import torch
from side_by_side import print_table

from reidhub.datasets import published_counts
from reidhub.metrics import evaluate


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, the device's own work included."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def main() -> None:
    """Print one row of figures for each repetition."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=["market1501", "dukemtmcreid", "msmt17"])
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    counts = published_counts(given.dataset) or {}
    generator = torch.Generator().manual_seed(0)
    sides = [counts["query"], counts["gallery"]]
    query, gallery = (torch.randn(s.images, given.dimensions, generator=generator).to(given.device) for s in sides)
    pids = [torch.randint(s.identities, (s.images,), generator=generator) for s in sides]
    camids = [torch.randint(s.cameras or 1, (s.images,), generator=generator) for s in sides]

    def product() -> None:
        for part in torch.split(query, 256):
            part @ gallery.T

    rows = []
    for _ in range(given.repetitions):
        bare = seconds(product, given.device)
        ranks = seconds(lambda: evaluate(query, gallery, *pids, *camids), given.device)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        rows.append([given.dataset, f"{bare:.2f}", f"{ranks:.2f}", f"{ranks / bare:.2f}", f"{peak:.2f}"])
    title = f"Ranks: {given.device}, {given.dimensions} dimensions"
    print_table(title, ["dataset", "bare product, s", "ranks, s", "ratio", "peak, GB"], rows)


if __name__ == "__main__":
    main()
