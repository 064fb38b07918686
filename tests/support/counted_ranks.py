"""Computes scores in a slow and simple way, and makes small retrieval problems in which most distances are equal."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from reidhub.metrics import Evaluation

World = dict[str, Any]


def twin(world: World, distance: str, *, ignore_cameras: bool = False) -> tuple[list[int], list[float], list[float]]:
    """Compute first match ranks, average precisions and INPs from exact distances, one query after the other."""
    first, precisions, penalties = [], [], []
    for vector, pid, camid in zip(world["query"], world["query_pids"], world["query_camids"], strict=True):
        ranked = sorted(
            (exact_distance(vector, other, distance), place)
            for place, other in enumerate(world["gallery"])
            if world["gallery_pids"][place] >= 0
            and (ignore_cameras or (world["gallery_pids"][place], world["gallery_camids"][place]) != (pid, camid))
        )
        ranks = [rank for rank, (_, place) in enumerate(ranked, 1) if world["gallery_pids"][place] == pid]
        first.append(ranks[0] if ranks else 0)
        hits = [nth / rank for nth, rank in enumerate(ranks, 1)]
        precisions.append(math.fsum(hits) / len(hits) if hits else math.nan)
        penalties.append(len(ranks) / max(ranks) if ranks else math.nan)
    return first, precisions, penalties


def exact_distance(left: Any, right: Any, distance: str) -> float | Fraction:
    pairs = [(Fraction(float(a)), Fraction(float(b))) for a, b in zip(left, right, strict=True)]
    if distance == "euclidean":
        return sum(((a - b) ** 2 for a, b in pairs), Fraction())
    lengths = [max(math.sqrt(sum(pair[side] ** 2 for pair in pairs)), 1e-12) for side in (0, 1)]
    return 1 - float(sum(a * b for a, b in pairs)) / (lengths[0] * lengths[1])


def assert_like_twin(result: Evaluation, world: World, distance: str) -> None:
    first, precisions, penalties = twin(world, distance, ignore_cameras=result.cameras == "ignore")
    assert result.first_match_rank.tolist() == first
    assert result.average_precision.tolist() == pytest.approx(precisions, abs=1e-12, nan_ok=True)
    assert result.inverse_negative_penalty.tolist() == pytest.approx(penalties, abs=1e-15, nan_ok=True)
    found = [rank for rank in first if rank]
    assert result.num_valid_queries == len(found)
    assert result.hits.tolist() == [sum(rank <= k for rank in found) for k in range(1, 51)]
    assert result.cmc.tolist() == pytest.approx([hits / len(found) for hits in result.hits.tolist()])
    assert result.mAP == pytest.approx(math.fsum(p for p in precisions if p == p) / len(found))
    assert result.mINP == pytest.approx(math.fsum(p for p in penalties if p == p) / len(found))


def crowded_world(
    seed: int, *, queries: int = 12, gallery: int = 60, dimensions: int = 3, distance: str = "euclidean"
) -> World:
    """Make a retrieval problem with few different vectors, so that most distances are equal.

    It has gallery images with the pid and camera of a query, and queries without a match. Floating point computes all
    distances exactly: vectors have small integers, and for ``cosine`` each length is 0 or a power of two.
    """
    rng = np.random.default_rng(seed)

    def vectors(count: int) -> Any:
        if distance == "euclidean":
            return rng.integers(-2, 3, (count, dimensions)).astype(np.float32)
        signs = rng.choice([-1, 1], (count, 4)) * rng.integers(0, 2, (count, 1))  # some vectors are all zeros
        return (signs * 2.0 ** rng.integers(0, 3, (count, 1))).astype(np.float32)

    return {
        "query": vectors(queries),
        "gallery": vectors(gallery),
        "query_pids": rng.integers(0, 8, queries),
        "gallery_pids": rng.integers(0, 6, gallery),
        "query_camids": rng.integers(0, 3, queries),
        "gallery_camids": rng.integers(0, 3, gallery),
    }
