"""Computes the recorded scores of the demo checkpoint with slow and simple code.

This module does not use `reidhub.inference.preprocess`, `reidhub.metrics` or `reidhub.datasets`. So a mistake in one of
them shows as a difference between its scores and those of `reidhub verify`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

_NAME = re.compile(r"(-1|\d+)_c(\d)s\d_\d+_\d+\.jpg")
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts over all queries that have a match in the gallery.

    Args:
        queries: number of such queries.
        hits: k -> number of queries with a match among the k nearest images.
        precision: sum of the average precisions of the queries.
        penalty: sum of the inverse negative penalties of the queries.
    """

    queries: int
    hits: dict[int, int]
    precision: float
    penalty: float

    def percentages(self) -> dict[str, float]:
        """Return the scores as metric -> percentage, not rounded."""
        ranks = {f"rank{rank}": 100 * hits / self.queries for rank, hits in self.hits.items()}
        means = {"mAP": 100 * self.precision / self.queries, "mINP": 100 * self.penalty / self.queries}
        return means | ranks


@dataclass(frozen=True, slots=True)
class Embedded:
    """The embeddings of one split.

    Args:
        rows: float64 (N, D).
        people: pid and camera of each row.
    """

    rows: NDArray[np.float64]
    people: list[tuple[int, int]]


def score(model: nn.Module, query: Path, gallery: Path) -> Tally:
    """Score a model on two folders in Market-1501's layout. The model is in eval mode afterwards."""
    model.eval()
    return count(embed(model, query), embed(model, gallery))


def embed(model: nn.Module, folder: Path) -> Embedded:
    """Embed all images of a folder except junk (badly detected images, pid -1), in the order of the file names."""
    rows, people = [], []
    for path in sorted(folder.glob("*.jpg")):
        pid, camera = (int(text) for text in _NAME.fullmatch(path.name).groups())  # type: ignore[union-attr]
        if pid == -1:
            continue
        with torch.inference_mode():
            rows.append(model(_read_image(path))[0].double().numpy())
        people.append((pid, camera))
    return Embedded(np.array(rows), people)


def _read_image(path: Path) -> Tensor:
    """Read an image as float32 (1, 3, 256, 128), resized and normalised as the published models need it."""
    with Image.open(path) as image:
        resized = image.convert("RGB").resize((128, 256), Image.Resampling.BILINEAR)
    normal = (np.asarray(resized) / 255 - _MEAN) / _STD
    return torch.tensor(normal.transpose(2, 0, 1)[None], dtype=torch.float32)


def count(query: Embedded, gallery: Embedded) -> Tally:
    """Rank the whole gallery for one query after the other, and count the hits."""
    hits = dict.fromkeys((1, 5, 10), 0)
    queries, precision, penalty = 0, 0.0, 0.0
    for row, (pid, camera) in zip(query.rows, query.people, strict=True):
        distances = [float(((row - other) ** 2).sum()) for other in gallery.rows]
        nearest = sorted(range(len(distances)), key=distances.__getitem__)
        kept = [gallery.people[g] for g in nearest if gallery.people[g] != (pid, camera)]
        places = [place for place, (other, _) in enumerate(kept, start=1) if other == pid]
        if not places:
            continue
        queries += 1
        precision += sum(found / place for found, place in enumerate(places, start=1)) / len(places)
        penalty += len(places) / places[-1]
        for rank in hits:
            hits[rank] += places[0] <= rank
    return Tally(queries, hits, precision, penalty)
