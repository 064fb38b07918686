"""The paired bootstrap: how much of a difference between two retrievals could be chance.

The queries of a dataset are a sample: other queries would give other scores. The bootstrap (Efron and Tibshirani, "An
Introduction to the Bootstrap", 1993) draws as many queries from the same queries, with replacement, many times. For
each draw it computes the difference of the two means. It is paired: both retrievals answer the same drawn queries.
Smucker, Allan and Carterette (CIKM 2007) recommend it for comparing retrieval systems.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reidhub.errors import EvaluationError

_RESAMPLES = 10_000
_DRAWS = 1 << 21  # numbers of queries that are drawn at a time; they need 16 MiB
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two means over the same queries, with its 95 % bootstrap interval.

    Args:
        mean: mean of the second minus mean of the first.
        low: lower end of the interval: 2.5 % of the resamples have a smaller difference.
        high: upper end of the interval: 2.5 % of the resamples have a larger difference.
        queries: number of queries.
        resamples: number of resamples.
    """

    mean: float
    low: float
    high: float
    queries: int
    resamples: int

    @property
    def may_be_chance(self) -> bool:
        """True if the interval contains 0."""
        return self.low <= 0 <= self.high


def compare_means(
    first: Sequence[float] | NDArray[np.float64], second: Sequence[float] | NDArray[np.float64], *, seed: int = 0
) -> Difference:
    """Compare the mean of two lists of scores of the same queries, such as average precisions.

    The interval is the percentile interval of 10,000 resamples. The same scores and the same seed give the same
    interval.

    Args:
        first: one score for each query, (Q,); NaN for a query that was skipped.
        second: scores of the same queries in the same order, (Q,), NaN for the same queries.
        seed: of the generator that draws the queries.

    Raises:
        EvaluationError: the lists differ in length or in the queries that were skipped, or all queries were skipped.
    """
    scores = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if scores[0].ndim != 1 or scores[0].shape != scores[1].shape:
        raise EvaluationError(
            f"expected scores of the same queries, got shapes {scores[0].shape} and {scores[1].shape}"
        )
    skipped = np.isnan(scores[0])
    if not np.array_equal(skipped, np.isnan(scores[1])):
        raise EvaluationError("expected scores of the same queries, got lists that skip different queries")
    if skipped.all():
        raise EvaluationError("expected scores of at least one query, got none")
    differences = (scores[1] - scores[0])[~skipped]
    low, high = np.percentile(_resample_means(differences, seed), _PERCENTILES)
    return Difference(float(differences.mean()), float(low), float(high), len(differences), _RESAMPLES)


def _resample_means(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Draw all values again, with replacement, `_RESAMPLES` times, and return the mean of each draw."""
    generator = np.random.default_rng(seed)
    rows = max(1, _DRAWS // len(values))
    means = [
        values[generator.integers(0, len(values), (min(rows, _RESAMPLES - start), len(values)))].mean(1)
        for start in range(0, _RESAMPLES, rows)
    ]
    return np.concatenate(means)
