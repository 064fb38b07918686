"""Writes JPEG files for the benchmarks: images of people that `reidhub demo` draws, similar to Market-1501."""

import itertools
from pathlib import Path

from PIL import Image

from reidhub.demo import world


def market_like(folder: Path, count: int) -> list[Path]:
    """Write ``count`` images of 64 x 128 pixels, and return their paths."""
    paths = []
    for number, shot in enumerate(itertools.islice(itertools.cycle(world.list_shots("gallery")), count)):
        paths.append(folder / f"{number:05d}.jpg")
        paths[-1].write_bytes(world.photograph(shot))
    return paths


def of_many_sizes(folder: Path, sources: list[Path]) -> list[Path]:
    """Write the same images in sizes from 40 x 90 to 126 x 249 pixels, like crops of a detector; return their paths."""
    paths = []
    for number, source in enumerate(sources):
        paths.append(folder / f"sized_{source.name}")
        size = (40 + number * 37 % 87, 90 + number * 53 % 160)
        with Image.open(source) as image:
            image.resize(size).save(paths[-1], quality=90)
    return paths
