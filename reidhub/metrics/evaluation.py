"""CMC and mAP of a retrieval, as the published tables define them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reidhub.errors import EvaluationError
from reidhub.metrics.distances import Approximation, Distance, Embeddings
from reidhub.metrics.inputs import Array, check_distance, read_embeddings, read_labels
from reidhub.metrics.matches import MatchIndex
from reidhub.metrics.ranking import Ranks, Tiling, rank
from reidhub.metrics.reranking import Reranker, Reranking, rank_rows
from reidhub.torch_settings import Arithmetic

CMC_RANKS = 50
"""Length of a CMC curve."""

_RERANKED_QUERIES = 64  # whose re-ranked distances to the whole gallery are held at a time


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
    """Rank the gallery for each query.

    Gallery images with the query's pid and camera are left out; a query with no match left is skipped; equal
    distances rank in gallery order. Ranks are those of exact distances, whatever the device and its number of threads.

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
        EvaluationError: shapes or dtypes that do not fit, values that are not finite, no query with a match.
    """
    embeddings = Embeddings(*read_embeddings(query, gallery), check_distance(distance))
    labels = read_labels(embeddings, (query_pids, gallery_pids, query_camids, gallery_camids))
    if rerank:
        return evaluate_reranked(embeddings, MatchIndex(labels), Reranking())
    return evaluate_embeddings(embeddings, MatchIndex(labels))


@torch.no_grad()
def evaluate_embeddings(embeddings: Embeddings, index: MatchIndex, tiling: Tiling | None = None) -> Evaluation:
    """`evaluate` behind its checks; ``tiling`` changes the time it takes, never the result.

    Raises:
        EvaluationError: no query has a match.
    """
    tiling = tiling or Tiling.for_device(embeddings.query.device)
    scores, approximation = Scores.empty(len(embeddings.query)), Approximation.of(embeddings)
    for run in index.runs(tiling.run):
        matches = index.find(run)
        if len(matches.queries):
            with Arithmetic().on(embeddings.query.device):
                ranks = rank(matches, embeddings, approximation, tiling)
            scores.add(matches.queries, ranks)
    return scores.evaluation()


@torch.no_grad()
def evaluate_reranked(embeddings: Embeddings, index: MatchIndex, parameters: Reranking) -> Evaluation:
    """`evaluate` behind its checks, by re-ranked distances.

    Raises:
        EvaluationError: no query has a match.
    """
    scores, reranker = Scores.empty(len(embeddings.query)), Reranker(embeddings, parameters)
    for run in index.runs(_RERANKED_QUERIES):
        matches = index.find(run)
        if len(matches.queries):
            scores.add(matches.queries, rank_rows(reranker.distances(matches.queries), matches))
    return scores.evaluation()


@dataclass(frozen=True, slots=True)
class Scores:
    """An evaluation that grows, a run of queries at a time."""

    first_match_rank: Tensor
    average_precision: Tensor

    @classmethod
    def empty(cls, num_queries: int) -> "Scores":
        """All queries skipped."""
        first = torch.zeros(num_queries, dtype=torch.int64, device="cpu")
        return cls(first, torch.full((num_queries,), torch.nan, dtype=torch.float64, device="cpu"))

    def add(self, queries: Tensor, ranks: Ranks) -> None:
        """Score some queries; ``ranks.rows`` are places in ``queries`` (n,), and each occurs."""
        queries, rows, places = queries.cpu(), ranks.rows.cpu(), ranks.ranks.cpu()
        counts = torch.bincount(rows, minlength=len(queries))
        starts = counts.cumsum(0) - counts
        nth = torch.arange(1, len(rows) + 1, device="cpu") - starts[rows]
        sums = torch.zeros(len(queries), dtype=torch.float64, device="cpu").index_add_(0, rows, nth.double() / places)
        self.first_match_rank[queries] = places[starts]
        self.average_precision[queries] = sums / counts

    def evaluation(self) -> Evaluation:
        """The finished scores.

        Raises:
            EvaluationError: all queries were skipped.
        """
        if not (self.first_match_rank > 0).any():
            raise EvaluationError(
                f"none of {len(self.first_match_rank)} queries has a gallery image of its pid from another camera",
                hint="pids and camids of query and gallery may be swapped, or of different datasets",
            )
        return Evaluation(self.first_match_rank, self.average_precision)
