"""CMC and mAP of a retrieval, as the published tables define them."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from reidhub.errors import EvaluationError
from reidhub.metrics.distances import DistanceMatrix
from reidhub.metrics.inputs import Array, Distance, Labels, read_embeddings, read_labels
from reidhub.metrics.ranking import MatchRanker
from reidhub.metrics.reranking import Reranker, Reranking

CMC_RANKS = 50
"""Length of a CMC curve."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The scores of one retrieval, query by query; on the CPU.

    Args:
        first_match_rank: int64 (Q,), rank of the nearest match, from 1; 0 for a query that was skipped.
        average_precision: float64 (Q,) in [0, 1]: mean precision at each match (step AP, as published tables use it);
            NaN for a query that was skipped.
    """

    first_match_rank: Tensor
    average_precision: Tensor

    @property
    def num_valid_queries(self) -> int:
        """Queries with a match in the gallery; all means are over these."""
        return int((self.first_match_rank > 0).sum())

    @property
    def hits(self) -> Tensor:
        """int64 (50,): at place k - 1, the queries whose nearest match has rank k or better."""
        ranks = self.first_match_rank[self.first_match_rank > 0]
        return torch.bincount(ranks.clamp(max=CMC_RANKS + 1), minlength=CMC_RANKS + 2)[1:-1].cumsum(0)

    @property
    def cmc(self) -> Tensor:
        """float64 (50,) in [0, 1]: `hits` as fractions. Behind the end of a smaller gallery the last value stays."""
        return self.hits.double() / self.num_valid_queries

    @property
    def mAP(self) -> float:
        """Mean of the average precisions, in [0, 1]."""
        return float(self.average_precision.nanmean())


def evaluate(
    query: Array,
    gallery: Array,
    query_pids: Array,
    gallery_pids: Array,
    query_camids: Array,
    gallery_camids: Array,
    distance: Distance = "euclidean",
    *,
    rerank: bool = False,
) -> Evaluation:
    """Rank the gallery for each query and score the rankings; `reidhub.metrics.definition` defines the scores.

    Gallery images with the query's pid and camera are left out. A query with no match left is skipped. Equal distances
    rank in gallery order; those of equal gallery embeddings are equal.

    The same machine with the same number of threads gives the same ranks again. Another one may swap two images whose
    distances agree but for rounding (float32; float64 if one of the embeddings is).

    Args:
        query: embeddings (Q, D), of any floating dtype; tensors may lie on a GPU, which is then used.
        gallery: embeddings (G, D).
        query_pids: integers (Q,).
        gallery_pids: integers (G,).
        query_camids: integers (Q,).
        gallery_camids: integers (G,).
        distance: ``euclidean`` (squared, of the embeddings as they are) or ``cosine``.
        rerank: rank by k-reciprocal re-ranking instead (k1=20, k2=6, lambda=0.3). Published figures are without it
            unless they say so. It takes the time of a matrix product of all images with all others.

    Raises:
        EvaluationError: shapes or dtypes that do not fit, values that are not finite or too large, no query with a
            match.
    """
    embeddings = read_embeddings(query, gallery, distance)
    labels = read_labels(embeddings, (query_pids, gallery_pids, query_camids, gallery_camids))
    matrix = Reranker(embeddings, Reranking()) if rerank else DistanceMatrix(embeddings)
    return score_tiles(matrix.tiles(), labels)


def score_tiles(tiles: Iterable[tuple[slice, Tensor]], labels: Labels) -> Evaluation:
    """Score a retrieval whose distances come in tiles.

    Args:
        tiles: places of queries and their distances (n, G) to the whole gallery; all queries in order.
        labels: of the same queries and gallery.

    Raises:
        EvaluationError: no query has a match.
    """
    ranker = MatchRanker(labels)
    scores = [_score(ranker.rank(queries, distances).cpu()) for queries, distances in tiles]
    first, precision = (torch.cat(parts) for parts in zip(*scores, strict=True))
    if not (first > 0).any():
        raise EvaluationError(
            f"none of {len(first)} queries has a gallery image of its pid from another camera",
            hint="pids and camids of query and gallery may be swapped, or of different datasets",
        )
    return Evaluation(first, precision)


def _score(ranks: Tensor) -> tuple[Tensor, Tensor]:
    """First match rank and average precision (n,) of some queries, from the ranks of their matches (n, M)."""
    found = ranks > 0
    ascending = ranks.double().masked_fill_(~found, torch.inf).sort(dim=1).values
    nth = torch.arange(1, ranks.shape[1] + 1, device="cpu")
    sums = (nth / ascending).cumsum(1)[:, -1]  # adds one by one: the same bits however far the rows are filled up
    return ascending[:, 0].masked_fill(~found.any(1), 0).long(), sums / found.sum(1)
