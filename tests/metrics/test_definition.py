"""The definition of CMC, mAP and mINP: against a twin that counts one by one, and against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from support.contract import retrieval_case
from support.counted_ranks import World, crowded_world, twin

from reidhub.metrics.definition import (
    average_precision,
    cmc,
    inverse_negative_penalty,
    match_ranks,
    mean_average_precision,
    mean_inverse_negative_penalty,
)


def rank_world(world: World) -> list[torch.Tensor]:
    """The ranks of each query's matches, by squared distances in float64."""
    query, gallery = (torch.from_numpy(world[side]).double() for side in ("query", "gallery"))
    pids, camids = (torch.from_numpy(world[name]) for name in ("gallery_pids", "gallery_camids"))
    people = zip(world["query_pids"].tolist(), world["query_camids"].tolist(), strict=True)
    return [
        match_ranks((row - gallery).square().sum(1), pids, camids, *person)
        for row, person in zip(query, people, strict=True)
    ]


@pytest.mark.parametrize("seed", range(10))
def test_ranks_and_precisions_are_as_counted_one_by_one(seed: int) -> None:
    world = crowded_world(seed)
    first, precisions, penalties = twin(world, "euclidean")
    rankings = rank_world(world)
    assert [int(ranks[0]) if len(ranks) else 0 for ranks in rankings] == first
    counted = [ranks for ranks in rankings if len(ranks)]
    expected = [precision for precision in precisions if not math.isnan(precision)]
    assert [average_precision(ranks) for ranks in counted] == pytest.approx(expected, abs=1e-12)
    assert mean_average_precision(counted) == pytest.approx(math.fsum(expected) / len(expected))
    penalties = [penalty for penalty in penalties if not math.isnan(penalty)]
    assert [inverse_negative_penalty(ranks) for ranks in counted] == pytest.approx(penalties, abs=1e-15)
    assert mean_inverse_negative_penalty(counted) == pytest.approx(math.fsum(penalties) / len(penalties))
    found = [rank for rank in first if rank]
    assert [cmc(counted, k) for k in (1, 5, 10)] == [sum(rank <= k for rank in found) / len(found) for k in (1, 5, 10)]


def test_junk_takes_no_rank_and_equal_distances_rank_in_gallery_order() -> None:
    pids, camids = torch.tensor([1, 2, 1, 1, 3, 1]), torch.tensor([0, 0, 1, 2, 0, 1])
    distances = torch.tensor([0.0, 0.5, 0.5, 0.1, 0.5, 0.5])  # the first image is junk for (1, 0)
    assert match_ranks(distances, pids, camids, 1, 0).tolist() == [1, 3, 5]
    assert match_ranks(distances, pids, camids, 4, 0).tolist() == []


def test_average_precision_takes_steps_not_trapezoids() -> None:
    assert average_precision(torch.tensor([1, 3, 4])) == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3, abs=1e-15)


def test_the_inverse_negative_penalty_depends_on_the_furthest_match_alone() -> None:
    assert inverse_negative_penalty(torch.tensor([1, 2, 3])) == 1.0
    assert [inverse_negative_penalty(torch.tensor(ranks)) for ranks in ([1, 2, 12], [9, 10, 12])] == [0.25, 0.25]


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_scikit_learn_where_nothing_is_tied(seed: int) -> None:
    world = retrieval_case(seed + 50, 15, 120, 8, 3)
    for place, ranks in enumerate(rank_world(world)):
        kept = (world["gallery_pids"] != world["query_pids"][place]) | (
            world["gallery_camids"] != world["query_camids"][place]
        )
        truth = world["gallery_pids"][kept] == world["query_pids"][place]
        distances = ((world["gallery"][kept].astype(np.float64) - world["query"][place]) ** 2).sum(1)
        if truth.any():
            expected = average_precision_score(truth, -distances)
            assert average_precision(ranks) == pytest.approx(expected, abs=1e-12)


def test_a_negative_pid_is_junk_for_every_query_and_a_query_with_one_has_no_match() -> None:
    pids, camids = torch.tensor([-1, 1, -1, 2, 1]), torch.tensor([1, 0, 0, 1, 1])
    distances = torch.arange(5.0)
    assert match_ranks(distances, pids, camids, 1, 0).tolist() == [2]
    assert match_ranks(distances, pids, camids, -1, 0).tolist() == []


def test_without_a_camid_images_of_every_camera_match() -> None:
    pids, camids = torch.tensor([-1, 1, -1, 2, 1]), torch.tensor([1, 0, 0, 1, 1])
    assert match_ranks(torch.arange(5.0), pids, camids, 1, None).tolist() == [1, 3]
