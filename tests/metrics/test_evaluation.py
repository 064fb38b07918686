"""CMC, mAP, mINP and ranks: against the contract, against the definition, and against a twin that counts one by one."""

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.contract import METRICS, retrieval_case
from support.counted_ranks import World, assert_like_twin, crowded_world, twin
from torch.nn.functional import normalize
from torch.overrides import TorchFunctionMode

from reidhub.errors import EvaluationError
from reidhub.metrics import Evaluation, definition, distances, evaluate
from reidhub.metrics.inputs import read_embeddings


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("entry", METRICS, ids=lambda entry: str(entry["case"]["seed"]))
def test_contract_figures_are_met(entry: dict[str, Any], distance: Any) -> None:
    result = evaluate(**retrieval_case(**entry["case"]), distance=distance)
    expected = entry[distance]
    measured = {f"rank{k}": float(result.cmc[k - 1]) for k in (1, 5, 10)} | {"mAP": result.mAP, "mINP": result.mINP}
    assert measured == pytest.approx({metric: expected[metric] for metric in measured}, abs=1e-5)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("seed", range(20))
def test_ties_rank_in_gallery_order_as_counted_one_by_one(seed: int, distance: Any) -> None:
    world = crowded_world(seed, distance=distance)
    assert_like_twin(evaluate(**world, distance=distance), world, distance)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("queries", [1, 3, 300])
@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_the_definition(seed: int, queries: int, distance: Any) -> None:
    world = retrieval_case(seed, queries, 500, 12, 3)
    world["query"] = world["query"].astype(np.float64)  # float32 could swap distances that are nearly equal
    assert_as_defined(evaluate(**world, distance=distance), world, distance)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_copies_in_the_gallery_are_tied(threads: int, order: Any, distance: Any) -> None:
    """A matrix product rounds equal columns differently for some of these sizes and numbers of threads."""
    rng = np.random.default_rng(threads)
    with torch_threads(threads):
        for gallery, dimensions in itertools.product((5, 17, 33, 47, 65, 129, 777), (3, 8, 31, 64, 100, 513)):
            world = crowded_world(0, queries=1, gallery=gallery)
            kinds = rng.standard_normal((2, dimensions)).astype(np.float32)
            world["gallery"] = np.asarray(kinds[rng.integers(0, 2, gallery)], order=order)
            world["query"] = rng.standard_normal((1, dimensions)).astype(np.float32)
            world["query_pids"][:], world["gallery_pids"][-1], world["query_camids"][:] = 1, 1, 3
            assert_as_defined(evaluate(**world, distance=distance), world, distance)


def assert_as_defined(result: Evaluation, world: World, distance: str) -> None:
    """Compare with the definition, whose distances are float64 and computed one by one."""
    query, gallery = (torch.from_numpy(np.ascontiguousarray(world[s], np.float64)) for s in ("query", "gallery"))
    if distance == "cosine":
        query, gallery = normalize(query), normalize(gallery)
    labels = [torch.from_numpy(world[name]) for name in ("gallery_pids", "gallery_camids")]
    camids = [None if result.cameras == "ignore" else camid for camid in world["query_camids"].tolist()]
    people = zip(world["query_pids"].tolist(), camids, strict=True)
    rankings = [
        definition.match_ranks((row - gallery).square().sum(1), *labels, *person)
        for row, person in zip(query, people, strict=True)
    ]
    assert result.first_match_rank.tolist() == [int(ranks[0]) if len(ranks) else 0 for ranks in rankings]
    counted = [ranks for ranks in rankings if len(ranks)]
    assert result.cmc.tolist() == pytest.approx([definition.cmc(counted, k) for k in range(1, 51)], abs=1e-12)
    assert result.mAP == pytest.approx(definition.mean_average_precision(counted), abs=1e-12)
    assert result.mINP == pytest.approx(definition.mean_inverse_negative_penalty(counted), abs=1e-12)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    queries, gallery, dimensions = draw(st.integers(1, 5)), draw(st.integers(1, 12)), draw(st.integers(1, 5))
    scale = 2.0 ** draw(st.integers(-20, 20))
    offset = draw(st.sampled_from([0.0, 0.0, 1.0, 1000.0]))
    values = st.integers(-3, 3)

    def vectors(count: int) -> np.ndarray[Any, Any]:
        drawn = draw(st.lists(values, min_size=count * dimensions, max_size=count * dimensions))
        return ((np.array(drawn, np.float32) + offset) * scale).astype(np.float32).reshape(count, dimensions)

    def labels(count: int, least: int, most: int) -> np.ndarray[Any, Any]:
        return np.array(draw(st.lists(st.integers(least, most), min_size=count, max_size=count)))

    return {
        "query": vectors(queries),
        "gallery": vectors(gallery),
        "query_pids": labels(queries, -1, 3),
        "gallery_pids": labels(gallery, -1, 3),
        "query_camids": labels(queries, 0, 1),
        "gallery_camids": labels(gallery, 0, 1),
    }


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_any_small_world_scores_as_counted_one_by_one(world: World) -> None:
    if not any(twin(world, "euclidean")[0]):
        with pytest.raises(EvaluationError, match=r"has a gallery image of its pid|got only negative pids"):
            evaluate(**world)
        return
    assert_like_twin(evaluate(**world), world, "euclidean")


def test_float64_embeddings_rank_with_their_own_precision() -> None:
    world = crowded_world(3, gallery=40)
    steps = np.random.default_rng(3).permutation(40)[:, None] * 2.0**-46
    world["gallery"] = np.ones((40, 3)) + steps
    world["query"] = np.zeros((12, 3))
    assert_like_twin(evaluate(**world), world, "euclidean")


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize(("rows", "size"), [(1, 1 << 25), (7, 1 << 25), (256, 1 << 25), (256, 1), (256, 1500)])
def test_no_tile_size_and_no_thread_count_changes_ranks_of_distances_without_rounding(
    rows: int, size: int, distance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = crowded_world(7, queries=60, gallery=700, distance=distance)
    expected = evaluate(**world, distance=distance)
    monkeypatch.setattr(distances, "_TILE_ROWS", rows)
    monkeypatch.setattr(distances, "_TILE_SIZE", size)
    for threads in (1, 2):
        with torch_threads(threads):
            result = evaluate(**world, distance=distance)
        assert torch.equal(result.first_match_rank, expected.first_match_rank)
        assert torch.equal(result.average_precision.nan_to_num(2), expected.average_precision.nan_to_num(2))


def test_the_row_of_one_query_has_the_bits_of_its_tile() -> None:
    world = retrieval_case(2, 300, 777, 12, 3)
    matrix = distances.DistanceMatrix(read_embeddings(world["query"], world["gallery"], "euclidean"))
    whole = torch.cat([tile for _, tile in matrix.tiles()])
    assert whole.shape == (300, 777)
    for query in (0, 100, 255, 256, 299):
        assert torch.equal(matrix.row(query), whole[query])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_a_gpu_ranks_as_the_twin_does(distance: Any) -> None:
    world = crowded_world(8, queries=300, gallery=700, distance=distance)
    on_gpu = {name: torch.from_numpy(values).cuda() for name, values in world.items()}
    assert_like_twin(evaluate(**on_gpu, distance=distance), world, distance)


def test_a_query_scores_alone_as_among_others_though_most_images_show_one_person() -> None:
    world = crowded_world(1, queries=150, gallery=1000, dimensions=8)
    world["query_pids"][:], world["gallery_pids"][:] = 1, 1
    world["gallery_pids"][::41], world["query_pids"][1::2] = 2, 2
    result = evaluate(**world)

    def only(place: int) -> World:
        return {name: v[place : place + 1] if name.startswith("query") else v for name, v in world.items()}

    assert result.average_precision.tolist() == [float(evaluate(**only(i)).average_precision) for i in range(150)]
    assert_like_twin(evaluate(**only(0)), only(0), "euclidean")


def test_a_collapsed_model_ranks_in_gallery_order() -> None:
    world = crowded_world(5)
    world["query"][:], world["gallery"][:] = 0.3, 0.3
    assert_like_twin(evaluate(**world), world, "euclidean")


BACKENDS = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)


def precisions() -> list[str]:
    return [backend.fp32_precision for backend in BACKENDS]


class Watch(TorchFunctionMode):
    """Notes which precisions are set whenever a matrix product starts."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[str]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.Tensor.addmm_:
            self.seen.append(precisions())
        return function(*args, **(kwargs or {}))


def lower_by_backend() -> None:
    BACKENDS[0].fp32_precision, BACKENDS[1].fp32_precision = "tf32", "bf16"


@pytest.mark.parametrize("lower", [lambda: torch.set_float32_matmul_precision("medium"), lower_by_backend])
def test_products_are_in_full_precision_and_the_users_setting_comes_back(lower: Callable[[], None]) -> None:
    before = precisions()
    try:
        lower()
        with Watch() as watch:
            evaluate(**retrieval_case(1, 20, 200, 10, 2))
        assert precisions() == ["tf32", "bf16"]
    finally:
        torch.set_float32_matmul_precision("highest")
        for backend, precision in zip(BACKENDS, before, strict=True):
            backend.fp32_precision = precision
    assert [cpu for _, cpu in watch.seen] == ["ieee"] * len(watch.seen) != []


def test_a_users_autocast_does_not_reach_the_products() -> None:
    world = crowded_world(3)
    with torch.autocast("cpu", torch.bfloat16):
        assert_like_twin(evaluate(**world), world, "euclidean")


@pytest.mark.parametrize("rerank", [False, True])
def test_a_users_default_device_is_not_where_scores_are_computed(rerank: bool) -> None:
    world = retrieval_case(1, 20, 200, 10, 2)
    want = evaluate(**world, rerank=rerank)
    with torch.device("meta"):
        got = evaluate(**world, rerank=rerank)
    assert torch.equal(got.first_match_rank, want.first_match_rank) and got.mAP == want.mAP


def test_queries_without_a_match_are_skipped_not_counted_as_misses() -> None:
    result = evaluate(np.eye(3), np.eye(3), [1, 2, 3], [1, 2, 9], [0, 0, 0], [1, 0, 1])  # no match; only junk
    assert result.first_match_rank.tolist() == [1, 0, 0]
    assert result.num_valid_queries == 1
    assert result.average_precision.isnan().tolist() == [False, True, True]
    assert result.inverse_negative_penalty.isnan().tolist() == [False, True, True]
    assert result.mAP == result.mINP == 1.0


@pytest.mark.parametrize("rerank", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_junk_in_the_gallery_changes_nothing_and_a_junk_query_is_skipped(seed: int, rerank: bool) -> None:
    clean = retrieval_case(seed, 20, 200, 10, 3)
    expected = evaluate(**clean, rerank=rerank)
    rng = np.random.default_rng(seed)
    places = np.sort(rng.integers(0, 200, 40))  # junk among the others: copies of queries, so it is near them
    junk = clean["query"][rng.integers(0, 20, 40)]
    mixed = clean | {
        "gallery": np.insert(clean["gallery"], places, junk, axis=0),
        "gallery_pids": np.insert(clean["gallery_pids"], places, rng.choice([-1, -7], 40)),
        "gallery_camids": np.insert(clean["gallery_camids"], places, rng.integers(0, 3, 40)),
    }
    result = evaluate(**mixed, rerank=rerank)
    assert torch.equal(result.first_match_rank, expected.first_match_rank)
    assert torch.equal(result.average_precision.nan_to_num(2), expected.average_precision.nan_to_num(2))

    mixed["query_pids"] = mixed["query_pids"].copy()
    mixed["query_pids"][5] = -1
    result = evaluate(**mixed, rerank=rerank)
    assert result.first_match_rank[5] == 0 and result.average_precision[5].isnan()


@pytest.mark.parametrize("cameras", ["use", "ignore"])
@pytest.mark.parametrize("seed", range(5))
def test_scores_with_junk_are_those_of_the_definition_and_of_counting_one_by_one(seed: int, cameras: Any) -> None:
    world = crowded_world(seed)
    world["gallery_pids"] -= 2
    world["query_pids"] -= 2
    result = evaluate(**world, cameras=cameras)
    assert_like_twin(result, world, "euclidean")
    world["query"] = world["query"].astype(np.float64)
    assert_as_defined(evaluate(**world, cameras=cameras), world, "euclidean")


def test_ignored_cameras_count_images_of_the_same_camera_and_the_result_says_so() -> None:
    world = crowded_world(2)
    result = evaluate(**world, cameras="ignore")
    assert_like_twin(result, world, "euclidean")
    assert (result.cameras, evaluate(**world).cameras) == ("ignore", "use")
    assert result.mAP != evaluate(**world).mAP
    without = {name: values for name, values in world.items() if "camids" not in name}
    assert evaluate(**without, cameras="ignore").mAP == result.mAP
    one_camera = world | {"query_camids": np.zeros(12, int), "gallery_camids": np.zeros(60, int)}
    assert evaluate(**one_camera, cameras="ignore").mAP == result.mAP
    with pytest.raises(EvaluationError, match=r'from another camera\nhint: all matches .* cameras="ignore"'):
        evaluate(**one_camera)


def test_cmc_of_a_small_gallery_keeps_its_last_value() -> None:
    result = evaluate(np.zeros((1, 1)), [[1.0], [2.0], [3.0]], [1], [2, 2, 1], [0], [0, 0, 1])
    assert result.hits.dtype == torch.int64
    assert result.cmc.tolist() == [0.0, 0.0] + 48 * [1.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_any_floating_dtype_score_like_their_values(dtype: torch.dtype) -> None:
    world = crowded_world(4)
    tensors = {name: torch.from_numpy(values) for name, values in world.items()}
    tensors["query"], tensors["gallery"] = tensors["query"].to(dtype), tensors["gallery"].to(dtype)
    assert_like_twin(evaluate(**tensors), world, "euclidean")


def test_views_and_read_only_arrays_are_taken_and_left_as_they_are() -> None:
    world = crowded_world(6)
    expected = evaluate(**world)
    world["query"] = np.asfortranarray(world["query"])
    world["gallery"] = world["gallery"][::-1].copy()[::-1]
    world["gallery_pids"] = world["gallery_pids"].astype(np.int16)
    world["query_pids"] = np.stack([world["query_pids"]] * 2, 1)[:, 0]
    for values in world.values():
        values.flags.writeable = False
    before = {name: values.copy() for name, values in world.items()}
    assert torch.equal(evaluate(**world).hits, expected.hits)
    assert all(np.array_equal(before[name], values) for name, values in world.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": np.zeros((12, 4), np.float32)}, r"one dimension D, got \(12, 4\) and \(60, 3\)"),
        ({"query": np.zeros(12, np.float32)}, r"query embeddings \(N, D\), got shape \(12,\)"),
        ({"gallery": np.zeros((0, 3), np.float32)}, r"gallery embeddings \(N, D\), got shape \(0, 3\)"),
        ({"query": np.zeros((12, 3), np.int64)}, "query embeddings of a floating dtype, got torch.int64"),
        ({"query": np.full((12, 3), np.nan)}, "NaN or infinity in row 0 of query"),
        ({"query": np.full((12, 3), 1e30)}, "squared lengths fit into float32"),
        ({"query_pids": np.zeros(11, np.int64)}, r"query_pids of shape \(12,\), got \(11,\)"),
        ({"gallery_camids": np.zeros(60)}, "gallery_camids of an integer dtype, got torch.float64"),
        ({"query_pids": ["a"] * 12}, "query_pids cannot be read"),
        ({"distance": "manhattan"}, "a distance of euclidean, cosine, got 'manhattan'"),
        ({"query_camids": np.full(12, 9), "gallery_camids": np.full(60, 9)}, "none of 12 queries"),
        ({"query_pids": np.full(12, 9)}, "none of 12 queries .*\nhint: pids and camids .* may be swapped"),
        ({"gallery_pids": np.full(60, -1)}, "pids from 0, got only negative pids"),
        ({"query_camids": None}, 'query_camids, got None\nhint: cameras="ignore" needs no camids'),
        ({"cameras": "all"}, "cameras of use, ignore, got 'all'"),
        ({"gallery_pids": np.full(60, 2**63, np.uint64)}, r"gallery_pids below 2\^63"),
    ],
)
def test_inputs_that_make_no_sense_are_errors_that_say_so(change: World, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate(**{**crowded_world(0), **change})


def test_a_bad_row_far_down_is_named() -> None:
    gallery = np.zeros((10_000, 2), np.float32)
    gallery[9_123, 1] = np.inf
    with pytest.raises(EvaluationError, match="row 9123 of gallery"):
        evaluate(np.zeros((1, 2), np.float32), gallery, [0], np.zeros(10_000, int), [0], np.ones(10_000, int))


_MEMORY = """
import resource, numpy as np
from reidhub.metrics import evaluate
rng = np.random.default_rng(0)
def world(queries, gallery):
    return dict(
        query=rng.standard_normal((queries, 8), np.float32), gallery=rng.standard_normal((gallery, 8), np.float32),
        query_pids=rng.integers(0, 5000, queries), gallery_pids=rng.integers(0, 5000, gallery),
        query_camids=np.zeros(queries, int), gallery_camids=np.ones(gallery, int))
evaluate(**world(300, 30_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
evaluate(**world(3_000, 60_000))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_the_distance_matrix_is_never_held() -> None:
    """It would be 720 MB; on Linux the peak is given in KiB."""
    done = subprocess.run([sys.executable, "-c", _MEMORY], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100_000
