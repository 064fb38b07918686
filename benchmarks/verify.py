"""Measures verification: ranking against the matrix product alone, and one shared pass against one per model.

    python benchmarks/verify.py ranks msmt17
    python benchmarks/verify.py ranks market1501 --device cuda
    python benchmarks/verify.py passes --images 2000 --models 10

``ranks`` prints two rows. The first is for embeddings that score like those of a trained model on MSMT17 (rank-1 near
77 %, mAP near 50 %). The second is for random embeddings, which take longer because their matches spread over the whole
ranking.
"""

import argparse
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from side_by_side import medians, print_table
from torch import Tensor
from torch.nn.functional import normalize

from reidhub.datasets import find_published_counts
from reidhub.metrics import evaluate
from reidhub.models import build
from reidhub.verification.dataset_pass import DatasetPass, PassMember
from reidhub.verification.journal import RowLog
from reidhub.verification.movable_embedder import MovableEmbedder
from reidhub.verification.settings import Settings
from reidhub.zoo.checkpoint import InputSpec

SPEC = InputSpec(256, 128, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")


def synchronised(work: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Return a function that calls ``work`` and then waits until the device has finished."""

    def whole() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return whole


def ranks(given: argparse.Namespace) -> None:
    """Measure the ranking of trained-like and of random embeddings, and print one row for each."""
    counts = find_published_counts(given.dataset) or {}
    generator = torch.Generator().manual_seed(0)
    sides = [counts["query"], counts["gallery"]]
    pids = [torch.randint(s.identities, (s.images,), generator=generator) for s in sides]
    camids = [torch.randint(s.cameras or 1, (s.images,), generator=generator) for s in sides]
    rows = []
    for kind in ("trained", "random"):
        query, gallery = (part.to(given.device) for part in draw_embeddings(kind, pids, given.dimensions, generator))

        def product(query: Tensor = query, gallery: Tensor = gallery) -> None:
            for part in torch.split(query, 256):
                part @ gallery.T

        scores = evaluate(query, gallery, *pids, *camids)
        ranked = partial(evaluate, query, gallery, *pids, *camids)
        works = {"product": synchronised(product, given.device), "ranks": synchronised(ranked, given.device)}
        taken = medians(works, given.rounds)
        row = [given.dataset, kind, f"{scores.cmc[0]:.1%}", f"{scores.mAP:.1%}"]
        row += [*(f"{s:.2f}" for s in taken.values()), f"{taken['ranks'] / taken['product']:.2f}"]
        row += [f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}"]
        if given.device.type == "cuda":
            row.append(f"{torch.cuda.max_memory_allocated(given.device) / 1e9:.2f}")
        rows.append(row)
    header = ["sizes of", "embeddings", "rank-1", "mAP"]
    header += ["matrix product, s", "`metrics.evaluate`, s", "ratio", "peak memory, GB"]
    header += ["on the device, GB"] if given.device.type == "cuda" else []
    print_table(f"Ranks: {given.device}", header, rows)


def draw_embeddings(kind: str, pids: Sequence[Tensor], dimensions: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Draw embeddings (N, D) of length 1 for the pids (N,) of queries and gallery.

    ``trained`` embeddings lie around one centre for each person; some persons and images are further away from their
    centre than others. ``random`` embeddings do not depend on the person.
    """
    persons = 1 + max(int(side.max()) for side in pids)
    centres = torch.randn(persons, dimensions, generator=generator)
    hardness = 0.3 * torch.randn(persons, 1, generator=generator)
    for side in pids:
        noise = torch.randn(len(side), dimensions, generator=generator)
        if kind == "trained":
            own = 0.25 * torch.randn(len(side), 1, generator=generator)
            noise = centres[side] + 2.3 * torch.exp(hardness[side] + own) * noise
        yield normalize(noise)


def passes(given: argparse.Namespace) -> None:
    """Print one row: time of a pass for each model, time of one pass for all, and whether each file was opened once."""
    with tempfile.TemporaryDirectory() as folder:
        images = write_images(Path(folder) / "images", given.images, given.size)
        settings = Settings.for_device(given.device, Path(folder), batch_size=given.batch_size)
        models = [
            MovableEmbedder(
                build(given.model, 751).eval(), SPEC, classify=False, cached=Path(folder) / f"{place:064}.pth"
            )
            for place in range(given.models)
        ]
        opened = count_openings()

        def one_pass(members: list[MovableEmbedder]) -> None:
            opened.clear()
            run(images, members, settings, Path(tempfile.mkdtemp(dir=folder)))

        works = {
            "alone": lambda: [one_pass([model]) for model in models],
            "together": lambda: one_pass(models),
        }
        taken = medians({name: synchronised(work, given.device) for name, work in works.items()}, given.rounds)
        once = set(opened.values()) == {1} and len(opened) == len(images)
    alone, together = taken.values()
    row = [given.model, f"{given.models}", f"{given.images}", f"{alone:.1f}", f"{together:.1f}"]
    row += [f"{alone / together:.2f}", "yes" if once else "NO"]
    header = ["architecture", "models", "images", "a pass for each, s", "one pass, s", "ratio", "each file opened once"]
    print_table(f"Verification of several models: {given.device}", header, [row])


def write_images(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Write JPEG files of blurred noise, which compress as well as photographs do."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        blocks = Image.fromarray(rng.integers(0, 256, (32, 16, 3), dtype=np.uint8))
        blocks.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def run(images: list[Path], models: list[MovableEmbedder], settings: Settings, folder: Path) -> None:
    """Embed the images with all models in one pass."""
    logs = [
        RowLog(folder / str(place), len(images), model.dimensions, settings.batch_size)
        for place, model in enumerate(models)
    ]
    members = [PassMember(model, log) for model, log in zip(models, logs, strict=True)]
    DatasetPass(images, SPEC, members).run(settings, lambda count: None)
    for log in logs:
        log.close()


def count_openings() -> Counter[str]:
    """Start to count how often each JPEG file is opened, by any library; the returned counter is updated."""
    opened: Counter[str] = Counter()

    def hear(event: str, given: tuple[object, ...]) -> None:
        if event == "open" and str(given[0]).endswith(".jpg"):
            opened[str(given[0])] += 1

    sys.addaudithook(hear)
    return opened


def main() -> None:
    """Run ``ranks`` or ``passes``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    first = kinds.add_parser("ranks")
    first.add_argument("dataset", choices=["market1501", "dukemtmcreid", "msmt17"])
    first.add_argument("--dimensions", type=int, default=512)
    first.set_defaults(work=ranks)
    second = kinds.add_parser("passes")
    second.add_argument("--images", type=int, default=2000)
    second.add_argument("--size", type=int, nargs=2, default=(128, 256), metavar=("WIDTH", "HEIGHT"))
    second.add_argument("--models", type=int, default=10)
    second.add_argument("--model", default="osnet_x0_25")
    second.add_argument("--batch-size", type=int, default=64)
    second.set_defaults(work=passes)
    for kind in (first, second):
        kind.add_argument("--device", type=torch.device, default=torch.device("cpu"))
        kind.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    given.work(given)


if __name__ == "__main__":
    main()
