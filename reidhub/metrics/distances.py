"""Distances between query and gallery embeddings, computed in tiles.

A tile is the part of the distance matrix for some consecutive queries and the whole gallery.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

from reidhub.errors import EvaluationError
from reidhub.metrics.inputs import Embeddings
from reidhub.torch_settings import Arithmetic

_TILE_ROWS = 256
_TILE_SIZE = 1 << 25  # largest number of distances in a tile; they need 128 MiB as float32


class DistanceMatrix:
    """The distances (Q, G) of a retrieval, computed tile by tile, so that the whole matrix is never in memory.

    A tile is the part of the matrix for some consecutive queries and the whole gallery.

    If two gallery embeddings are equal, each query has exactly the same distance to both. The last bits of a distance
    depend on the machine and on the number of threads.

    Raises:
        EvaluationError: the squared lengths of the embeddings are too large for float32.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        query, gallery = embeddings.query, embeddings.gallery
        squares = query.square().sum(1), gallery.square().sum(1)
        if not (squares[0].max() + squares[1].max() < torch.finfo(torch.float32).max / 2):
            raise EvaluationError("expected embeddings whose squared lengths fit into float32, got longer ones")
        if embeddings.distance == "euclidean":  # |q - g|^2 = |q|^2 + |g|^2 - 2 q g
            self._factor, self._query_term, self._gallery_term = -2.0, *squares
        else:
            self._factor, self._query_term, self._gallery_term = -1.0, squares[0].fill_(1), squares[1].zero_()
            query, gallery = normalize(query), normalize(gallery)
        self._query, self._gallery = query, gallery
        self._copies, self._originals = _find_copies(gallery)
        self._rows = max(1, min(_TILE_ROWS, _TILE_SIZE // len(gallery)))

    def tiles(self) -> Iterator[tuple[slice, Tensor]]:
        """Compute all distances, and yield each tile: the indices of n queries, and their distances (n, G)."""
        for start in range(0, len(self._query), self._rows):
            queries = slice(start, min(start + self._rows, len(self._query)))
            yield queries, self._compute(queries)

    def row(self, query: int) -> Tensor:
        """Compute the distances (G,) of one query; they equal the distances from `tiles` bit for bit."""
        start = query // self._rows * self._rows
        return self._compute(slice(start, start + self._rows))[query - start].clone()

    def _compute(self, queries: slice) -> Tensor:
        distances = self._query_term[queries, None] + self._gallery_term
        with Arithmetic().on(distances.device):
            distances.addmm_(self._query[queries], self._gallery.T, alpha=self._factor)
        distances[:, self._copies] = distances[:, self._originals]  # a product may round equal columns differently
        return distances


def _find_copies(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Find the rows that equal an earlier row.

    Returns:
        Two int64 (C,), for C such rows: the index of the row, and the index of the first row that equals it.
    """
    _, group, size = torch.unique(rows.sum(1), return_inverse=True, return_counts=True)
    candidates = (size[group] > 1).nonzero()[:, 0]  # equal rows have equal sums, and most sums are unique
    kind = torch.unique(rows[candidates], dim=0, return_inverse=True)[1]
    first = torch.full_like(candidates, len(rows)).scatter_reduce_(0, kind, candidates, "amin")[kind]
    return candidates[first < candidates], first[first < candidates]
