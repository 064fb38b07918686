"""The measured numbers of one job, before they are compared with published scores."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measurement:
    """The measured numbers of a retrieval or a classification, query by query and in total.

    In a retrieval, a query without a match in the gallery is skipped. In a classification, each image is a query.

    Args:
        first_match_rank: the rank of each query's nearest match, from 1; 0 for a skipped query. For classification,
            the rank of the right class among the five best classes, from 1; 0 if it is not among them.
        average_precision: one value for each query, in [0, 1]; NaN for a skipped query. Empty for classification.
        inverse_negative_penalty: one value for each query, in (0, 1]; NaN for a skipped query. Empty for
            classification.
        queries: number of queries that were not skipped; all means are over these queries.
        hits: at index k - 1, the number of queries with ``first_match_rank`` from 1 to k. k goes up to 50, or up to 5
            for classification.
        mAP: mean average precision, in [0, 1]; None for classification.
        mINP: mean inverse negative penalty, in (0, 1]; None for classification.
        dimensions: number of values in an embedding.
    """

    first_match_rank: tuple[int, ...]
    average_precision: tuple[float, ...]
    inverse_negative_penalty: tuple[float, ...]
    queries: int
    hits: tuple[int, ...]
    mAP: float | None
    mINP: float | None
    dimensions: int

    @property
    def skipped(self) -> int:
        """Number of queries without a match in the gallery; 0 for classification."""
        return len(self.first_match_rank) - self.queries

    @property
    def cmc(self) -> tuple[float, ...]:
        """`hits` divided by `queries`: at index k - 1, the share of queries with a match at rank k or better."""
        return tuple(count / self.queries for count in self.hits)

    @property
    def per_query_digest(self) -> str:
        """The sha256, in hex, of a text with the ranks and average precisions; equal results give equal digests.

        The text has one line per query, in the order of the dataset: ``<rank> <average precision>``, or only ``<rank>``
        for classification. The average precision is written by ``float.hex``, which does not round.
        """
        if not self.average_precision:
            lines = [f"{rank}\n" for rank in self.first_match_rank]
        else:
            pairs = zip(self.first_match_rank, self.average_precision, strict=True)
            lines = [f"{rank} {precision.hex()}\n" for rank, precision in pairs]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
