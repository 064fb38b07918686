"""Thresholds for "are these two the same person?": against counting pair by pair in float64."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from support.contract import retrieval_case
from support.counted_ranks import World, crowded_world

from reidhub.errors import EvaluationError
from reidhub.metrics import OperatingPoint, distances, find_thresholds

WIDTH = 1 / 4096  # relative width of a bucket


Distances = np.ndarray[Any, np.dtype[np.float64]]


def list_distances(world: World, distance: str, *, ignore_cameras: bool = False) -> tuple[Distances, Distances]:
    """The distances of all pairs of different people, and those of all pairs of one person, in float64; ascending."""
    kinds: dict[bool, list[float]] = {False: [], True: []}
    for vector, pid, camid in zip(
        world["query"].astype(float), world["query_pids"], world["query_camids"], strict=True
    ):
        for place, other in enumerate(world["gallery"].astype(float)):
            other_pid, other_camid = world["gallery_pids"][place], world["gallery_camids"][place]
            if pid < 0 or other_pid < 0 or (not ignore_cameras and (pid, camid) == (other_pid, other_camid)):
                continue
            if distance == "euclidean":
                value = np.sqrt(((vector - other) ** 2).sum())
            else:
                value = 1 - vector @ other / max(np.linalg.norm(vector) * np.linalg.norm(other), 1e-12)
            kinds[pid == other_pid].append(value)
    return np.sort(kinds[False]), np.sort(kinds[True])


def rates_at(threshold: float, different: Distances, same: Distances) -> tuple[float, float]:
    return float((different <= threshold).mean()), float((same > threshold).mean())


def assert_rates_are_counted(point: OperatingPoint, different: Distances, same: Distances, moved: int = 0) -> None:
    """Rounding to float32 can move up to ``moved`` pairs over the threshold."""
    far, frr = rates_at(point.distance, different, same)
    assert point.far == pytest.approx(far, abs=moved / len(different) + 1e-12)
    assert point.frr == pytest.approx(frr, abs=moved / len(same) + 1e-12)


@pytest.mark.parametrize("cameras", ["use", "ignore"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("seed", range(5))
def test_thresholds_of_many_tied_pairs_are_those_of_counting_one_by_one(seed: int, distance: Any, cameras: Any) -> None:
    world = crowded_world(seed, queries=40, gallery=60, distance=distance)
    world["query_pids"] -= 1  # pid -1 is junk
    world["gallery_pids"] -= 1
    different, same = list_distances(world, distance, ignore_cameras=cameras == "ignore")
    found = find_thresholds(**world, distance=distance, cameras=cameras)

    assert (found.different_pairs, found.same_pairs) == (len(different), len(same))
    assert (found.distance, found.cameras) == (distance, cameras)
    steps = sorted({*different.tolist(), *same.tolist()})
    gaps = {step: abs(far - frr) for step in steps for far, frr in [rates_at(step, different, same)]}
    expected = min(steps, key=lambda step: (round(gaps[step], 12), step))
    assert_rates_are_counted(found.equal_error, different, same)
    assert expected <= found.equal_error.distance <= max(expected * (1 + WIDTH), 1e-30)
    assert np.array([(p.far, p.frr) for p in found.curve]) == pytest.approx(
        np.array([rates_at(step, different, same) for step in steps]), abs=1e-12
    )
    for target, point in ((0.01, found.far_1_percent), (0.001, found.far_01_percent)):
        too_far = different[int(Fraction(str(target)) * len(different))]  # the first pair that would be too many
        if len(different) * target < 1 or too_far == 0:
            assert point is None
        else:
            assert point is not None and point.far <= target
            assert too_far * (1 - WIDTH) <= point.distance < too_far
            assert_rates_are_counted(point, different, same)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_thresholds_of_pairs_without_ties_are_exact_to_the_width_of_a_bucket(distance: Any) -> None:
    world = retrieval_case(3, 60, 500, 12, 3)
    different, same = list_distances(world, distance)
    found = find_thresholds(**world, distance=distance)

    assert found.far_1_percent is not None and found.far_01_percent is not None
    for target, point in ((0.01, found.far_1_percent), (0.001, found.far_01_percent)):
        assert point.far <= target < rates_at(point.distance * (1 + 2 * WIDTH), different, same)[0]
    for point in (found.far_1_percent, found.far_01_percent, found.equal_error, *found.curve):
        assert_rates_are_counted(point, different, same, moved=2)
    below, above = (rates_at(found.equal_error.distance * factor, different, same) for factor in (1 - 0.01, 1 + 0.01))
    assert below[0] < below[1] and above[0] > above[1]
    edges = [point.distance for point in found.curve]
    assert len(edges) == 150 and edges == sorted(set(edges))
    assert (found.curve[-1].far, found.curve[-1].frr) == (1.0, 0.0) and found.curve[0].far < 0.01


def test_a_user_compares_the_plain_distance_with_the_threshold() -> None:
    query, gallery = torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [30.0, 40.0]])
    found = find_thresholds(query, gallery, [1], [1, 2], [0], [1, 1])
    assert torch.dist(query[0], gallery[0]) <= found.equal_error.distance < torch.dist(query[0], gallery[1])
    assert (found.equal_error.far, found.equal_error.frr) == (0.0, 0.0)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_rounding_that_makes_the_distance_of_equal_images_negative_does_no_harm(distance: Any) -> None:
    images = np.random.default_rng(0).standard_normal((200, 64)).astype(np.float32)
    pids = np.arange(200)
    found = find_thresholds(images, images, pids, pids, np.zeros(200, int), np.ones(200, int), distance)
    assert (found.equal_error.far, found.equal_error.frr, found.same_pairs) == (0.0, 0.0, 200)
    assert 0 <= found.curve[0].distance <= found.equal_error.distance < 0.02


def test_too_few_pairs_give_no_threshold_for_a_rate() -> None:
    def find(people: int) -> tuple[OperatingPoint | None, OperatingPoint | None]:
        gallery = np.arange(people + 1.0)[:, None]
        found = find_thresholds(np.zeros((1, 1)), gallery, [0], np.arange(people + 1), [0], np.ones(people + 1, int))
        assert found.different_pairs == people
        return found.far_1_percent, found.far_01_percent

    assert find(99) == (None, None)
    one, none = find(100)
    assert one is not None and (one.far, none) == (0.01, None) and one.distance == pytest.approx(2, rel=WIDTH)
    one, tenth = find(1000)
    assert one is not None and one.distance == pytest.approx(11, rel=WIDTH)
    assert tenth is not None and (tenth.far, tenth.distance) == (0.001, pytest.approx(2, rel=WIDTH))


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_equal_distances_are_accepted_all_together(value: float) -> None:
    world = crowded_world(5, queries=60)
    world["query"][:], world["gallery"][:] = 0.0, value
    found = find_thresholds(**world)
    assert (found.equal_error.far, found.equal_error.frr) == (1.0, 0.0) and found.curve == (found.equal_error,)
    assert found.equal_error.distance == pytest.approx(value * 3**0.5, rel=WIDTH, abs=1e-30)
    if value:
        assert found.far_1_percent is not None and (found.far_1_percent.far, found.far_1_percent.frr) == (0.0, 1.0)
    else:
        assert found.far_1_percent is None  # no distance is smaller than 0


def test_no_tile_size_changes_a_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    world = crowded_world(7, queries=20, gallery=700)
    expected = find_thresholds(**world)
    monkeypatch.setattr(distances, "_TILE_SIZE", 1500)
    assert find_thresholds(**world) == expected


def test_float64_embeddings_and_a_users_default_device_change_nothing() -> None:
    world = crowded_world(7)
    expected = find_thresholds(**world)
    with torch.device("meta"):
        assert find_thresholds(**world) == expected
    assert find_thresholds(**world | {"query": world["query"].astype(np.float64)}) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same_thresholds() -> None:
    world = crowded_world(8, queries=300, gallery=700)
    on_gpu = {name: torch.from_numpy(values).cuda() for name, values in world.items()}
    assert find_thresholds(**on_gpu) == find_thresholds(**world)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_pids": np.full(12, 9)}, "got 0 of one person and 720 of different people\nhint: each person needs"),
        (
            {"query_pids": np.ones(12, int), "gallery_pids": np.ones(60, int)},
            "and 0 of .*\nhint: .* at least two people",
        ),
        ({"query_pids": np.full(12, -1)}, "got 0 of one person and 0 of different people"),
        ({"query_camids": np.zeros(12, int), "gallery_camids": np.zeros(60, int)}, 'hint: .* cameras="ignore"'),
        ({"distance": "manhattan"}, "a distance of euclidean, cosine, got 'manhattan'"),
        ({"query_camids": None}, 'query_camids, got None\nhint: cameras="ignore" needs no camids'),
    ],
)
def test_pairs_of_one_kind_and_wrong_inputs_are_errors_that_say_so(change: World, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        find_thresholds(**{**crowded_world(0), **change})
