"""k-reciprocal re-ranking (Zhong et al., CVPR 2017, arXiv 1701.08398): neighbours of neighbours correct distances.

Each image of query and gallery gets a sparse vector over all images: weights of its k-reciprocal neighbours, averaged
with those of its nearest ones. The distance is the Jaccard distance of these vectors, blended with the original one.
The paper's "original distance" is squared here and divided by the largest one of the image, as in its authors' code.
All of it is computed in float64, and no matrix of all images exists.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from reidhub.metrics.distances import Embeddings, rows_in_double
from reidhub.metrics.ladder import lexsort, starts_of
from reidhub.metrics.matches import Matches
from reidhub.metrics.ranking import Ranks

_ROWS = 128  # images whose distances to all others are held at a time


@dataclass(frozen=True, slots=True)
class Reranking:
    """Parameters; the defaults are those of the published figures.

    Args:
        k1: neighbours that are looked at.
        k2: nearest images, itself included, whose vectors are averaged.
        blend: share of the original distance, in [0, 1]; the paper's lambda.
    """

    k1: int = 20
    k2: int = 6
    blend: float = 0.3


class Reranker:
    """Re-ranked distances of a retrieval.

    Args:
        embeddings: query and gallery.
        parameters: see `Reranking`.
    """

    def __init__(self, embeddings: Embeddings, parameters: Reranking) -> None:
        self._parameters = parameters
        self._num_queries = len(embeddings.query)
        everything = torch.cat([embeddings.query, embeddings.gallery])
        self._all = Embeddings(everything, everything, embeddings.distance)
        self._distances = _Distances(self._all)
        neighbours = self._distances.neighbours(max(parameters.k1 + 1, parameters.k2))
        vectors = _SparseRows.averaged(self._encode(neighbours[:, : parameters.k1 + 1]), neighbours[:, : parameters.k2])
        self._vectors = vectors
        self._of_images = vectors.below(self._num_queries).by_column()

    def distances(self, queries: Tensor) -> Tensor:
        """float32 (n, G): re-ranked distances of queries, places (n,) in the query, to the gallery.

        Rounding to float32 makes distances equal that differ by the rounding of float64 alone.
        """
        shared = self._shared(queries)
        original = self._distances.scaled(queries)[:, self._num_queries :]
        blend = self._parameters.blend
        return ((1 - shared / (2 - shared)) * (1 - blend) + original * blend).float()

    def _encode(self, neighbours: Tensor) -> "_SparseRows":
        """Weights of each image's k-reciprocal neighbours, which sum to 1."""
        half = neighbours[:, : round(self._parameters.k1 / 2) + 1]
        mutual, half_mutual = _mutual(neighbours), _mutual(half)
        parts = [
            _expanded(run, neighbours, mutual, half, half_mutual)
            for run in torch.split(torch.arange(len(neighbours), device=neighbours.device), _ROWS)
        ]
        rows, columns = (torch.cat(part) for part in zip(*parts, strict=True))
        weights = torch.exp(-self._all.exact(rows, columns).square() / self._distances.largest[rows])
        sums = torch.zeros_like(self._distances.largest).index_add_(0, rows, weights)
        return _SparseRows(rows, columns, weights / sums[rows], len(neighbours))

    def _shared(self, queries: Tensor) -> Tensor:
        """float64 (n, G): sums of what the vectors of query and image have in common."""
        rows, places = self._vectors.entries_of(queries)
        others, which = self._of_images.entries_of(self._vectors.columns[places])
        least = torch.minimum(self._vectors.values[places][others], self._of_images.values[which])
        num_images = len(self._all.gallery) - self._num_queries
        flat = torch.zeros(len(queries) * num_images, dtype=torch.float64, device=queries.device)
        image = self._of_images.columns[which] - self._num_queries
        return flat.index_add_(0, rows[others] * num_images + image, least).view(len(queries), num_images)


class _Distances:
    """Squared distances of all images to all others, computed when they are asked for."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self._unit = embeddings.distance == "cosine"
        self._squares = torch.cat([part.square().sum(1) for part in self._parts()])
        self.largest = torch.ones_like(self._squares)

    def neighbours(self, count: int) -> Tensor:
        """int64 (N, count): the nearest images of each, itself included; equal distances in the images' order.

        The largest distance of each is kept.
        """
        count = min(count, len(self._squares))
        nearest = []
        for run in torch.split(torch.arange(len(self._squares), device=self._squares.device), _ROWS):
            tile = self._squared(run)
            self.largest[run] = tile.amax(1).clamp(min=1e-300)
            nearest.append(_first(tile.float(), count))
        return torch.cat(nearest)

    def scaled(self, images: Tensor) -> Tensor:
        """float64 (n, N) in [0, 1]: squared distances, divided by the largest of each image."""
        return self._squared(images) / self.largest[images][:, None]

    def _squared(self, images: Tensor) -> Tensor:
        rows = next(rows_in_double(self._embeddings.gallery[images], unit=self._unit, at_once=len(images)))
        dots = torch.cat([rows @ part.T for part in self._parts()], 1)
        if self._unit:
            return (1 - dots).square_()
        return dots.mul_(-2).add_(self._squares).add_(self._squares[images][:, None]).clamp_(min=0).square_()

    def _parts(self) -> Iterator[Tensor]:
        return rows_in_double(self._embeddings.gallery, unit=self._unit, at_once=4096)


def _first(tile: Tensor, count: int) -> Tensor:
    """int64 (n, count): columns of the smallest values of each row, ascending; equal values in column order."""
    limit = tile.kthvalue(count, dim=1, keepdim=True).values
    rows, columns = (tile <= limit).nonzero(as_tuple=True)
    order = lexsort(tile[rows, columns], rows)
    starts = starts_of(rows)
    places = starts[:, None] + torch.arange(count, device=tile.device)
    return columns[order[places]]


def _mutual(neighbours: Tensor) -> Tensor:
    """bool (N, k): where the neighbour has the image among its own k nearest as well."""
    runs = torch.split(torch.arange(len(neighbours), device=neighbours.device), 4 * _ROWS)
    return torch.cat([(neighbours[neighbours[run]] == run[:, None, None]).any(2) for run in runs])


def _expanded(
    run: Tensor, neighbours: Tensor, mutual: Tensor, half: Tensor, half_mutual: Tensor
) -> tuple[Tensor, Tensor]:
    """Rows and columns of the k-reciprocal sets of some images, once they have grown.

    A neighbour's own set, of half the size, is joined where more than two thirds of it are in the set already.
    """
    own = torch.where(mutual[run], neighbours[run], -1)  # (n, k)
    joining, real = half[neighbours[run]], half_mutual[neighbours[run]] & mutual[run][:, :, None]  # (n, k, h)
    inside = (joining[..., None] == own[:, None, None, :]).any(3) & real
    joins = inside.sum(2) * 3 > real.sum(2) * 2
    candidates = torch.cat([own, torch.where(real & joins[..., None], joining, -1).flatten(1)], 1)
    row, place = (candidates >= 0).nonzero(as_tuple=True)
    keys = torch.unique(run[row] * len(neighbours) + candidates[row, place])
    return keys // len(neighbours), keys % len(neighbours)


@dataclass(frozen=True, slots=True)
class _SparseRows:
    """A sparse matrix (N, N), its entries in the order of the rows, then of the columns."""

    rows: Tensor
    columns: Tensor
    values: Tensor
    size: int

    @classmethod
    def averaged(cls, matrix: "_SparseRows", neighbours: Tensor) -> "_SparseRows":
        """The mean of the rows that ``neighbours`` (N, k) names, for each row."""
        count = neighbours.shape[1]
        sources, places = matrix.entries_of(neighbours.flatten())
        keys, inverse = torch.unique(sources // count * matrix.size + matrix.columns[places], return_inverse=True)
        sums = torch.zeros(len(keys), dtype=torch.float64, device=keys.device)
        sums.index_add_(0, inverse, matrix.values[places] / count)
        return cls(keys // matrix.size, keys % matrix.size, sums, matrix.size)

    def entries_of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """All entries of some rows (n,), one row after the other: places in ``rows``, and places of the entries."""
        rows = rows.contiguous()
        first = torch.searchsorted(self.rows, rows)
        counts = torch.searchsorted(self.rows, rows, right=True) - first
        which = torch.repeat_interleave(counts)
        nth = torch.arange(len(which), device=which.device) - (counts.cumsum(0) - counts)[which]
        return which, first[which] + nth

    def below(self, row: int) -> "_SparseRows":
        """The same matrix without the entries above a row."""
        kept = self.rows >= row
        return _SparseRows(self.rows[kept], self.columns[kept], self.values[kept], self.size)

    def by_column(self) -> "_SparseRows":
        """The transposed matrix."""
        order = self.columns.argsort(stable=True)
        return _SparseRows(self.columns[order], self.rows[order], self.values[order], self.size)


def rank_rows(distances: Tensor, matches: Matches) -> Ranks:
    """Ranks of matches from all distances (n, G) of the queries; equal ones rank in gallery order."""
    wrong, junk, right = 0, 1, 2
    kinds = torch.full(distances.shape, wrong, dtype=torch.uint8, device=distances.device)
    kinds[matches.rows, matches.columns] = torch.where(matches.junk, junk, right).to(torch.uint8)
    kinds = kinds.gather(1, distances.argsort(dim=1, stable=True))
    ranks = (kinds != junk).cumsum(1)
    rows, places = (kinds == right).nonzero(as_tuple=True)
    return Ranks(rows, ranks[rows, places])
