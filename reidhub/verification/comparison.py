"""Compares two retrievals: two checkpoints, or one checkpoint under two conditions, on the same copy of a dataset."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reidhub.errors import UsageError
from reidhub.metrics import Difference, compare_means
from reidhub.verification.results import Measured
from reidhub.verification.verdicts import RANKS

CONDITIONS = ("distance", "normalize", "rerank", "cameras", "precision")
"""The conditions that can change the scores of a checkpoint; fields of `reidhub.verification.results.Conditions`."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The results of one checkpoint for all queries of a dataset.

    Args:
        checkpoint: name of the checkpoint.
        dataset: key of the dataset registry.
        sha256: sha256 of the checkpoint's file, in hex.
        fingerprint: fingerprint of the copy of the dataset.
        images: name of a split -> number of images.
        partial: how the number of images differs from the published one; None for a complete copy.
        conditions: the value of each of `CONDITIONS`.
        first_match_rank: rank of each query's nearest match, from 1; 0 for a skipped query.
        average_precision: one value for each query, in [0, 1]; NaN for a skipped query. Empty for a classification.
        inverse_negative_penalty: one value for each query, in [0, 1]; NaN for a skipped query. Empty for a
            classification.
    """

    checkpoint: str
    dataset: str
    sha256: str
    fingerprint: str
    images: dict[str, int]
    partial: str | None
    conditions: dict[str, object]
    first_match_rank: tuple[int, ...]
    average_precision: tuple[float, ...]
    inverse_negative_penalty: tuple[float, ...]

    @classmethod
    def of(cls, result: Measured) -> "Retrieval":
        """Take the results of the queries from a result of a run."""
        counts = result.measurement
        return cls(
            result.job.checkpoint.name,
            result.job.dataset,
            result.file.sha256,
            result.copy.fingerprint,
            result.copy.images,
            result.copy.partial,
            {name: getattr(result.conditions, name) for name in CONDITIONS},
            counts.first_match_rank,
            counts.average_precision,
            counts.inverse_negative_penalty,
        )

    @property
    def percentages(self) -> dict[str, float]:
        """The scores of a retrieval in percent: rank1, rank5, rank10, mAP and mINP."""
        kept = [place for place, rank in enumerate(self.first_match_rank) if rank]
        scores = {
            name: sum(self.first_match_rank[place] <= k for place in kept) / len(kept) for name, k in RANKS.items()
        }
        scores["mAP"] = sum(self.average_precision[place] for place in kept) / len(kept)
        scores["mINP"] = sum(self.inverse_negative_penalty[place] for place in kept) / len(kept)
        return {name: 100 * score for name, score in scores.items()}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two retrievals of the same queries, side by side.

    Args:
        first: a retrieval.
        second: a retrieval on the same copy of the dataset.
        won: number of queries for which the second has the higher average precision.
        lost: number of queries for which the first has the higher average precision.
        difference: mAP of the second minus mAP of the first, in [-1, 1], with its 95 % bootstrap interval.
    """

    first: Retrieval
    second: Retrieval
    won: int
    lost: int
    difference: Difference

    @property
    def tied(self) -> int:
        """Number of queries with equal average precisions."""
        return self.difference.queries - self.won - self.lost

    @property
    def changed_conditions(self) -> dict[str, tuple[object, object]]:
        """The conditions that are not the same for both, with their two values."""
        pairs = {name: (self.first.conditions[name], self.second.conditions[name]) for name in CONDITIONS}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def compare(first: Retrieval, second: Retrieval) -> Comparison:
    """Compare two retrievals query by query.

    Raises:
        UsageError: they were not measured on the same copy of a dataset.
        EvaluationError: they skip different queries.
    """
    if (first.dataset, first.fingerprint, first.images) != (second.dataset, second.fingerprint, second.images):
        raise UsageError(
            f"expected results on one copy of a dataset, got {_describe_copy(first)} and {_describe_copy(second)}",
            hint="measure both on the same copy",
        )
    pairs = list(zip(first.average_precision, second.average_precision, strict=False))
    return Comparison(
        first,
        second,
        won=sum(one < other for one, other in pairs),
        lost=sum(one > other for one, other in pairs),
        difference=compare_means(first.average_precision, second.average_precision),
    )


def pair_by_dataset(first: Sequence[Retrieval], second: Sequence[Retrieval]) -> list[tuple[Retrieval, Retrieval]]:
    """Pair the retrievals on the same dataset, in the order of ``first``.

    Raises:
        UsageError: there is no common dataset, or one side has several checkpoints, or several results on a dataset.
    """
    by_dataset = [_index(side) for side in (first, second)]
    common = [dataset for dataset in by_dataset[0] if dataset in by_dataset[1]]
    if not common:
        names = [", ".join(side) or "no retrieval" for side in by_dataset]
        raise UsageError(
            f"expected two retrievals on one dataset, got {names[0]} and {names[1]}",
            hint="measure both on the same dataset; classifications cannot be compared",
        )
    return [(by_dataset[0][dataset], by_dataset[1][dataset]) for dataset in common]


def _index(side: Iterable[Retrieval]) -> dict[str, Retrieval]:
    retrievals = [one for one in side if one.average_precision]
    names = dict.fromkeys(one.checkpoint for one in retrievals)
    if len(names) > 1:
        raise UsageError(
            f"expected the results of one checkpoint, got those of {', '.join(names)}",
            hint="name one of them after the receipt: RECEIPT:CHECKPOINT",
        )
    by_dataset = {one.dataset: one for one in retrievals}
    if len(by_dataset) < len(retrievals):
        raise UsageError(
            f"expected one result of {retrievals[0].checkpoint} on each dataset, got several",
            hint="write each of them to a receipt of its own, such as one for each distance",
        )
    return by_dataset


def _describe_copy(retrieval: Retrieval) -> str:
    images = " and ".join(f"{count} {split}" for split, count in retrieval.images.items())
    return f"{retrieval.dataset} {retrieval.fingerprint[:12]} ({images} images)"
