"""CMC, mAP and mINP of a retrieval, as the published tables define them."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from reidhub.errors import EvaluationError
from reidhub.metrics.distances import DistanceMatrix
from reidhub.metrics.inputs import Array, Cameras, Distance, Labels, read_embeddings, read_labels, remove_junk
from reidhub.metrics.ranking import MatchRanker
from reidhub.metrics.reranking import Reranker, Reranking

CMC_RANKS = 50
"""Number of ranks in a CMC curve: rank 1 to rank 50."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The scores of one retrieval, query by query; all tensors are on the CPU.

    A query without a match in the gallery is skipped.

    Args:
        first_match_rank: int64 (Q,), rank of the nearest match, from 1; 0 for a query that was skipped.
        average_precision: float64 (Q,) in [0, 1]: mean of the precisions at the query's matches (step AP, as published
            tables use it); NaN for a query that was skipped.
        inverse_negative_penalty: float64 (Q,) in (0, 1]: number of the query's matches, divided by the rank of the
            furthest of them (INP, arXiv 2001.04193); NaN for a query that was skipped.
        cameras: ``ignore`` if images from the camera of a query counted too. Published scores use ``use``.
    """

    first_match_rank: Tensor
    average_precision: Tensor
    inverse_negative_penalty: Tensor
    cameras: Cameras = "use"

    @property
    def num_valid_queries(self) -> int:
        """Number of queries with a match in the gallery; all means are over these queries."""
        return int((self.first_match_rank > 0).sum())

    @property
    def hits(self) -> Tensor:
        """int64 (50,): entry k - 1 is the number of queries whose nearest match has rank k or better."""
        ranks = self.first_match_rank[self.first_match_rank > 0]
        return torch.bincount(ranks.clamp(max=CMC_RANKS + 1), minlength=CMC_RANKS + 2)[1:-1].cumsum(0)

    @property
    def cmc(self) -> Tensor:
        """float64 (50,) in [0, 1]: `hits` / `num_valid_queries`.

        If the gallery has fewer than 50 images, the last value is repeated.
        """
        return self.hits.double() / self.num_valid_queries

    @property
    def mAP(self) -> float:
        """Mean of the average precisions of the queries that were not skipped, in [0, 1]."""
        return float(self.average_precision.nanmean())

    @property
    def mINP(self) -> float:
        """Mean of the inverse negative penalties of the queries that were not skipped, in (0, 1]."""
        return float(self.inverse_negative_penalty.nanmean())


def evaluate(
    query: Array,
    gallery: Array,
    query_pids: Array,
    gallery_pids: Array,
    query_camids: Array | None = None,
    gallery_camids: Array | None = None,
    distance: Distance = "euclidean",
    *,
    rerank: bool = False,
    cameras: Cameras = "use",
) -> Evaluation:
    """Rank the gallery for each query and score the rankings; `reidhub.metrics.definition` defines the scores.

    Gallery images with both the pid and the camera of a query are left out for this query. A query is skipped if the
    gallery has no image of its pid from another camera. A negative pid marks junk, as in Market-1501: such gallery
    images are left out for all queries, and such queries are skipped. Images at equal distances rank in gallery order.
    If two gallery embeddings are equal, each query has exactly the same distance to both.

    The same machine with the same number of threads always gives the same ranks. Another machine may swap two images
    whose distances differ only by rounding. Distances are float32, or float64 if query or gallery is float64. Re-ranked
    distances are always float32.

    Args:
        query: embeddings (Q, D), of any floating dtype; if they are tensors on a GPU, the GPU computes.
        gallery: embeddings (G, D).
        query_pids: integers (Q,).
        gallery_pids: integers (G,).
        query_camids: integers (Q,); not needed with ``cameras="ignore"``.
        gallery_camids: integers (G,); not needed with ``cameras="ignore"``.
        distance: ``euclidean`` (squared; the embeddings are not normalised) or ``cosine``.
        rerank: True to apply k-reciprocal re-ranking (k1=20, k2=6, lambda=0.3). Published scores are without it, unless
            they mention it. Re-ranking compares every image with all other images, so the time grows with the square
            of the number of images.
        cameras: ``use`` to leave out gallery images from the camera of the query, as described above; this is the
            protocol of published scores. ``ignore`` to count every gallery image of the pid of the query, for images
            of one camera or of unknown cameras. The gallery must then not contain the query images themselves.

    Raises:
        EvaluationError: shapes or dtypes do not fit, values are not finite or too large, or no query has a match.
    """
    embeddings = read_embeddings(query, gallery, distance)
    labels = read_labels(embeddings, (query_pids, gallery_pids, query_camids, gallery_camids), cameras)
    embeddings, labels = remove_junk(embeddings, labels)
    matrix = Reranker(embeddings, Reranking()) if rerank else DistanceMatrix(embeddings)
    return score_tiles(matrix.tiles(), labels)


def score_tiles(tiles: Iterable[tuple[slice, Tensor]], labels: Labels) -> Evaluation:
    """Score a retrieval from tiles of its distances.

    Args:
        tiles: pairs of the indices of n consecutive queries and their distances (n, G) to the whole gallery; together
            they contain all queries in order. The function overwrites distances of images that are left out.
        labels: labels of the same queries and gallery.

    Raises:
        EvaluationError: no query has a match.
    """
    ranker = MatchRanker(labels)
    scores = [_score(ranker.rank(queries, distances).cpu()) for queries, distances in tiles]
    first, precision, penalty = (torch.cat(parts) for parts in zip(*scores, strict=True))
    if not (first > 0).any():
        raise _make_no_match_error(labels)
    return Evaluation(first, precision, penalty, labels.cameras)


def _make_no_match_error(labels: Labels) -> EvaluationError:
    wanted = "a gallery image of its pid" + (" from another camera" if labels.cameras == "use" else "")
    hint = "pids and camids of query and gallery may be swapped, or of different datasets"
    if torch.isin(labels.query_pids, labels.gallery_pids).any():
        hint = 'all matches are from the camera of their query; cameras="ignore" (--cameras ignore) counts them'
    return EvaluationError(f"none of {len(labels.query_pids)} queries has {wanted}", hint=hint)


def _score(ranks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute three tensors (n,) for n queries: rank of the nearest match, average precision, and INP.

    Args:
        ranks: int64 (n, M), the ranks of each query's matches, from 1; 0 in entries without a match.
    """
    found = ranks > 0
    ascending = ranks.double().masked_fill_(~found, torch.inf).sort(dim=1).values
    nth = torch.arange(1, ranks.shape[1] + 1, device="cpu")
    sums = (nth / ascending).cumsum(1)[:, -1]  # cumsum adds in order, so the zeros of the padding change no bit
    count = found.sum(1)
    first = ascending[:, 0].masked_fill(count == 0, 0).long()
    return first, sums / count, count.double() / ranks.amax(1)
