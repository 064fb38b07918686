"""The paired bootstrap: against scipy, and against what is known of means."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy import stats

from reidhub.errors import EvaluationError
from reidhub.metrics import compare_means


def draw_scores(queries: int, *, gain: float, seed: int = 1) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    first = rng.random(queries)
    return first, np.clip(first + gain + 0.1 * rng.standard_normal(queries), 0, 1)


@pytest.mark.parametrize("queries", [5, 300])
def test_the_interval_is_that_of_scipy_up_to_the_drawn_queries(queries: int) -> None:
    first, second = draw_scores(queries, gain=0.02)
    found = compare_means(first, second)
    theirs = stats.bootstrap(
        (second - first,), np.mean, n_resamples=10_000, method="percentile", random_state=np.random.default_rng(7)
    )
    low, high = theirs.confidence_interval
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))
    assert found.mean == pytest.approx(second.mean() - first.mean(), abs=1e-12)
    assert (found.queries, found.resamples) == (queries, 10_000)


def test_both_sides_answer_the_same_drawn_queries() -> None:
    """Scores of different queries vary much more than the difference between two models on one query."""
    first, second = draw_scores(300, gain=0.02)
    paired, shuffled = compare_means(first, second), compare_means(first, np.random.default_rng(0).permutation(second))
    assert paired.high - paired.low < 0.3 * (shuffled.high - shuffled.low)
    assert not paired.may_be_chance and paired.low > 0
    assert shuffled.may_be_chance


def test_the_same_scores_give_the_same_interval_and_the_reverse_order_gives_the_reverse_sign() -> None:
    first, second = draw_scores(100, gain=0.02)
    found, reverse = compare_means(first, second), compare_means(second, first)
    assert found == compare_means(list(first), list(second))
    assert (reverse.mean, reverse.low, reverse.high) == pytest.approx((-found.mean, -found.high, -found.low), abs=1e-12)
    assert compare_means(first, second, seed=1) != found


def test_queries_that_both_sides_skip_are_left_out() -> None:
    first, second = draw_scores(100, gain=0.02)
    gaps = [3, 40, 100]
    assert compare_means(np.insert(first, gaps, np.nan), np.insert(second, gaps, np.nan)) == compare_means(
        first, second
    )


def test_equal_scores_differ_by_nothing() -> None:
    first, _ = draw_scores(50, gain=0)
    found = compare_means(first, first)
    assert (found.mean, found.low, found.high, found.may_be_chance) == (0, 0, 0, True)


def test_the_drawn_queries_are_never_all_in_memory() -> None:
    first, second = draw_scores(5000, gain=0.02)  # all draws would need 400 MB
    tracemalloc.start()
    compare_means(first, second)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([0.5], [0.5, 0.6], r"got shapes \(1,\) and \(2,\)"),
        ([0.5, np.nan], [0.5, 0.6], "skip different queries"),
        ([np.nan], [np.nan], "at least one query"),
        ([], [], "at least one query"),
    ],
)
def test_scores_of_other_queries_are_refused(first: list[float], second: list[float], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        compare_means(first, second)
