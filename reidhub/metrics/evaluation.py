"""CMC and mAP of a retrieval, as the published tables define them."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from reidhub.errors import EvaluationError

RANKS = 50
"""Length of a CMC curve."""

Distance = Literal["euclidean", "cosine"]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The scores of one retrieval.

    Args:
        first_match_rank: int64 (Q,), place of the first match from 1; 0 for a query that was skipped.
        average_precision: float64 (Q,) in [0, 1]; NaN for a query that was skipped.
    """

    first_match_rank: Tensor
    average_precision: Tensor

    @property
    def num_valid_queries(self) -> int:
        """Queries with at least one match in the gallery; all means are over these."""
        return int((self.first_match_rank > 0).sum())

    @property
    def hits(self) -> Tensor:
        """int64 (50,): queries whose first match has rank <= k at place k - 1."""
        ranks = self.first_match_rank[self.first_match_rank > 0]
        return torch.stack([(ranks <= k).sum() for k in range(1, RANKS + 1)])

    @property
    def cmc(self) -> Tensor:
        """float64 (50,) in [0, 1]: `hits` as fractions; beyond the end of a small gallery the last value stays."""
        return self.hits.double() / self.num_valid_queries

    @property
    def mAP(self) -> float:
        """Mean of the average precisions, in [0, 1]."""
        return float(self.average_precision.nanmean())


def evaluate(
    query: Tensor | NDArray[Any],
    gallery: Tensor | NDArray[Any],
    query_pids: Tensor | NDArray[Any],
    gallery_pids: Tensor | NDArray[Any],
    query_camids: Tensor | NDArray[Any],
    gallery_camids: Tensor | NDArray[Any],
    distance: Distance = "euclidean",
) -> Evaluation:
    """Rank the gallery for each query; gallery images with the query's pid and camera are left out."""
    q, g = (torch.as_tensor(t).float() for t in (query, gallery))
    if distance == "cosine":
        q, g = (torch.nn.functional.normalize(t) for t in (q, g))
    qp, gp, qc, gc = (torch.as_tensor(t) for t in (query_pids, gallery_pids, query_camids, gallery_camids))
    first, precision = [], []
    for i in range(len(q)):
        keep = ~((gp == qp[i]) & (gc == qc[i]))
        d = (g[keep] - q[i]).square().sum(1)
        match = (gp[keep] == qp[i])[d.argsort(stable=True)]
        places = match.nonzero()[:, 0] + 1
        first.append(int(places[0]) if len(places) else 0)
        ap = (torch.arange(1, len(places) + 1) / places).double().mean()
        precision.append(float(ap))
    if not any(first):
        raise EvaluationError("no query has a match in the gallery")
    return Evaluation(torch.tensor(first), torch.tensor(precision, dtype=torch.float64))
