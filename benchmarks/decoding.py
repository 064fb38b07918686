"""Measures how fast one thread decodes JPEG files, compared with PIL and torchvision's transforms, and with PIL alone.

    python benchmarks/decoding.py

The time is CPU time. The transforms of torchvision also normalise the pixels. reidhub does this later, on the device of
the model; only the columns with "normalised" in their title include the normalisation.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from crops import market_like, of_many_sizes
from PIL import Image
from side_by_side import medians, print_table
from torchvision import transforms

from reidhub.inference.images import load_batches
from reidhub.inference.preprocess import normalise
from reidhub.zoo.checkpoint import InputSpec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SPEC = InputSpec(256, 128, MEAN, STD, "bilinear")


def pil(path: Path) -> np.ndarray:
    """Decode and resize an image with PIL, and return uint8 pixels (256, 128, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((SPEC.width, SPEC.height), Image.Resampling.BILINEAR))


def measure(name: str, paths: list[Path], rounds: int) -> list[str]:
    """Measure one row of the table: images per second in one thread, and whether the pixels equal those of PIL."""
    published = transforms.Compose(
        [transforms.Resize((SPEC.height, SPEC.width)), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )
    works = {
        "transforms": lambda: [published(Image.open(path).convert("RGB")) for path in paths],
        "PIL": lambda: [pil(path) for path in paths],
        "one by one": lambda: [None for _ in load_batches(paths, SPEC, 1, 1)],
        "batches": lambda: [None for _ in load_batches(paths, SPEC, 32, 1)],
        "normalised": lambda: [normalise(pixels, SPEC).shape for pixels, _ in load_batches(paths, SPEC, 32, 1)],
    }
    seconds = medians(works, rounds, time.process_time)
    pixels = torch.cat([batch for batch, _ in load_batches(paths, SPEC, 32, 1)]).permute(0, 2, 3, 1).numpy()
    same = all(np.array_equal(image, pil(path)) for image, path in zip(pixels, paths, strict=True))
    rates = [f"{len(paths) / s:.0f}" for s in seconds.values()]
    ratios = [f"{seconds['transforms'] / seconds[way]:.1f}" for way in ("one by one", "batches", "normalised")]
    return [name, *rates, *ratios, "yes" if same else "NO"]


def main() -> None:
    """Print one row for images of one size and one row for images of many sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        crops = market_like(Path(scratch), given.images)
        kinds = {"64x128": crops, "many sizes": of_many_sizes(Path(scratch), crops)}
        rows = [measure(name, paths, given.rounds) for name, paths in kinds.items()]
    header = ["crops", "PIL + transforms, images/s", "PIL alone", "one by one", "batches of 32", "normalised too"]
    header += ["one by one, times as fast", "batches, times as fast", "normalised, times as fast", "PIL's pixels"]
    print_table("Decoding to 256x128, one thread", header, rows)


if __name__ == "__main__":
    main()
