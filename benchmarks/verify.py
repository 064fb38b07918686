"""What verification costs: ranks beside the bare matrix product, and one pass over images beside a pass per model.

    python benchmarks/verify.py ranks msmt17
    python benchmarks/verify.py ranks market1501 --device cuda
    python benchmarks/verify.py passes --images 2000 --models 10

Random embeddings are the slow case: matches are spread over the whole ranking, and many distances are close together.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from reidhub.checkpoint import InputSpec
from reidhub.datasets import published_counts
from reidhub.metrics import evaluate
from reidhub.models import build
from reidhub.verification.embedders import Embedder
from reidhub.verification.passes import Member, Pass
from reidhub.verification.rows import RowLog
from reidhub.verification.settings import Settings

SPEC = InputSpec(256, 128, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, the device's own work included."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def ranks(given: argparse.Namespace) -> None:
    """Print one line of figures for each repetition."""
    counts = published_counts(given.dataset) or {}
    generator = torch.Generator().manual_seed(0)
    sides = [counts["query"], counts["gallery"]]
    query, gallery = (torch.randn(s.images, given.dimensions, generator=generator).to(given.device) for s in sides)
    pids = [torch.randint(s.identities, (s.images,), generator=generator) for s in sides]
    camids = [torch.randint(s.cameras or 1, (s.images,), generator=generator) for s in sides]

    def product() -> None:
        for part in torch.split(query, 256):
            part @ gallery.T

    for _ in range(given.repetitions):
        bare = seconds(product, given.device)
        ranked = seconds(lambda: evaluate(query, gallery, *pids, *camids), given.device)
        peak = f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"
        if given.device.type == "cuda":
            peak += f", on the device {torch.cuda.max_memory_allocated(given.device) / 1e9:.2f} GB"
        print(f"product {bare:.3f} s  ranks {ranked:.3f} s  ratio {ranked / bare:.2f}  {peak}")


def passes(given: argparse.Namespace) -> None:
    """Print the time of a pass for each model and of one pass for all, and how often a file was opened."""
    with tempfile.TemporaryDirectory() as folder:
        images = write_images(Path(folder) / "images", given.images, given.size)
        settings = Settings.on(given.device, Path(folder), batch_size=given.batch_size)
        models = [Embedder(build(given.model, 751).eval(), SPEC, classify=False) for _ in range(given.models)]
        run(images[: given.batch_size], models[:1], settings, Path(folder) / "warm")
        opened = count_openings()
        for repetition in range(given.repetitions):
            place = Path(folder) / str(repetition)
            alone = sum(run(images, [m], settings, place / f"alone{i}") for i, m in enumerate(models))
            opened.clear()
            together = run(images, models, settings, place / "together")
            once = set(opened.values()) == {1} and len(opened) == len(images)
            print(
                f"{given.models} passes {alone:.2f} s  one pass {together:.2f} s  ratio {alone / together:.2f}  "
                f"saved {alone - together:.2f} s  {'each file opened once' if once else 'FILES OPENED AGAIN'}"
            )


def write_images(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """JPEG files of noise in soft blocks, which compress as photographs do."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        blocks = Image.fromarray(rng.integers(0, 256, (32, 16, 3), dtype=np.uint8))
        blocks.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def run(images: list[Path], models: list[Embedder], settings: Settings, folder: Path) -> float:
    """Seconds of one pass."""
    folder.mkdir(parents=True)
    logs = [
        RowLog(folder / str(place), len(images), model.dimensions, settings.batch_size)
        for place, model in enumerate(models)
    ]
    members = [Member(model, log) for model, log in zip(models, logs, strict=True)]
    taken = seconds(lambda: Pass(images, SPEC, members).run(settings, lambda count: None), settings.device)
    for log in logs:
        log.close()
    return taken


def count_openings() -> Counter[str]:
    """JPEG file -> how often it was opened, by whichever library, from now on."""
    opened: Counter[str] = Counter()

    def hear(event: str, given: tuple[object, ...]) -> None:
        if event == "open" and str(given[0]).endswith(".jpg"):
            opened[str(given[0])] += 1

    sys.addaudithook(hear)
    return opened


def main() -> None:
    """Run one of the two."""
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
        kind.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    given.work(given)


if __name__ == "__main__":
    main()
