"""Measures how fast a folder of JPEG files is embedded, compared with the usual way.

    python benchmarks/pipeline.py
    python benchmarks/pipeline.py --device cuda --batch 128 --images 8192

The usual way is PIL, torchvision's transforms, a DataLoader and the plain module. The extractor does what torchreid's
`FeatureExtractor` does with lists of 32 paths: the same, but without a DataLoader. Memory is the peak of a separate
process for each number of images. The busy share of the device is a quotient: the time that the model needs for images
that are on the device already, divided by the time from files to embeddings.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from crops import market_like
from embedding import plain, trained
from PIL import Image
from side_by_side import medians, print_table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from reidhub.devices import count_processors
from reidhub.inference import Embedder
from reidhub.zoo.checkpoint import InputSpec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WORKERS = 2
LIST = 32  # paths in one call of the extractor
_UNIT = 2**20 if sys.platform == "darwin" else 2**10  # units of ru_maxrss in a MiB


class Files(Dataset[Tensor]):
    """A dataset that reads image files as the usual evaluation code does: with PIL and torchvision's transforms."""

    def __init__(self, paths: list[Path], spec: InputSpec) -> None:
        self.paths = paths
        size = (spec.height, spec.width)
        self.transform = transforms.Compose(
            [transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


def peak_memory(name: str, paths: list[Path], batch: int, results: "multiprocessing.Queue[float]") -> None:
    """Embed the files in this process, with a model that is not compiled, and report the peak memory in MiB."""
    model = trained(name)
    spec = InputSpec(*model.input_size, MEAN, STD, "bilinear")
    Embedder.of_model(model, spec, precision="exact", batch=batch).embed_files(paths, WORKERS)
    results.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _UNIT)


def memory(name: str, paths: list[Path], batch: int) -> float:
    """Embed the files in a new process, and return the peak memory of the new process in MiB."""
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[float] = context.Queue()
    process = context.Process(target=peak_memory, args=(name, paths, batch, results))
    process.start()
    peak = results.get()
    process.join()
    return peak


def measure(paths: list[Path], given: argparse.Namespace) -> list[str]:
    """Measure one row of the table: images per second, error, peak memory for a quarter of the files and for all."""
    model = trained(given.architecture).to(given.device)
    spec = InputSpec(*model.input_size, MEAN, STD, "bilinear")
    embedder = Embedder.of_model(model, spec, precision=given.precision)
    on_gpu = given.device.type == "cuda"
    loader = DataLoader(
        Files(paths, spec), given.batch, num_workers=WORKERS, persistent_workers=True, pin_memory=on_gpu
    )

    def usual() -> Tensor:
        return torch.cat([plain(model, images.to(given.device, non_blocking=on_gpu)) for images in loader])

    dataset = Files(paths, spec)

    def extractor() -> Tensor:
        lists = [range(first, min(first + LIST, len(paths))) for first in range(0, len(paths), LIST)]
        return torch.cat([plain(model, torch.stack([dataset[i] for i in places]).to(given.device)) for places in lists])

    def model_alone() -> None:
        for _ in range(0, len(paths), given.batch):
            embedder(pixels)

    pixels = torch.zeros(given.batch, 3, *model.input_size, dtype=torch.uint8, device=given.device)
    works: dict[str, Callable[[], object]] = {"usual": usual, "extractor": extractor, "alone": model_alone}
    seconds = medians(works | {"files": lambda: embedder.embed_files(paths, WORKERS)}, given.rounds)
    want, got = usual(), embedder.embed_files(paths, WORKERS)
    error = ((got - want).norm() / want.norm()).item()
    rates = [f"{len(paths) / seconds[way]:.1f}" for way in ("usual", "extractor", "files")]
    ratios = [f"{seconds[way] / seconds['files']:.2f}" for way in ("usual", "extractor")]
    ratios += [f"{seconds['alone'] / seconds['files']:.2f}"]
    peaks = [f"{memory(given.architecture, part, given.batch):.0f}" for part in (paths[: len(paths) // 4], paths)]
    return [given.architecture, *rates, *ratios, f"{error:.0e}", *peaks]


def main() -> None:
    """Print one row for one architecture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architecture", nargs="?", default="osnet_x1_0")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--precision", choices=["exact", "fp32", "tf32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.set_num_threads(min(torch.get_num_threads(), count_processors()))
    with tempfile.TemporaryDirectory() as scratch:
        row = measure(market_like(Path(scratch), given.images), given)
    header = ["architecture", "usual, images/s", "extractor, images/s", "`embed_files`, images/s"]
    header += ["times usual", "times extractor", "busy share", "relative error"]
    header += [f"peak of {given.images // 4} images, MiB", f"peak of {given.images} images, MiB"]
    print_table(f"Folder of JPEG files to embeddings: {given.device}, {given.precision}", header, [row])


if __name__ == "__main__":
    main()
