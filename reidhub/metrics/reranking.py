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
from torch.nn.functional import normalize

from reidhub.metrics.inputs import Embeddings

_ROWS = 128  # images whose distances to all others exist at a time
_QUERIES = 64  # of a tile
_PAIRS = 1 << 13  # whose embeddings are subtracted at a time


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
        self._original = _OriginalDistances(embeddings)
        neighbours = self._original.find_neighbours(max(parameters.k1 + 1, parameters.k2))
        weights = self._weigh_neighbours(neighbours[:, : parameters.k1 + 1])
        self._vectors = weights.average_rows(neighbours[:, : parameters.k2])
        self._by_image = self._vectors.drop_rows_above(self._num_queries).transpose()

    def tiles(self) -> Iterator[tuple[slice, Tensor]]:
        """Compute the distances (n, G) of all queries, tile by tile; each comes with the places of its queries."""
        places = torch.arange(self._num_queries, device=self._vectors.rows.device)
        for start in range(0, self._num_queries, _QUERIES):
            queries = slice(start, min(start + _QUERIES, self._num_queries))
            yield queries, self.distances(places[queries])

    def distances(self, queries: Tensor) -> Tensor:
        """Compute the re-ranked distances, float32 (n, G), of queries, places (n,), to the gallery.

        Rounding to float32 makes distances equal that differ by the rounding of float64 alone.
        """
        shared = self._sum_shared_weights(queries)
        original = self._original.compute(queries)[:, self._num_queries :]
        blend = self._parameters.blend
        return ((1 - shared / (2 - shared)) * (1 - blend) + original * blend).float()

    def _weigh_neighbours(self, neighbours: Tensor) -> "_SparseMatrix":
        """Weights of each image's k-reciprocal neighbours, which sum to 1."""
        half = neighbours[:, : round(self._parameters.k1 / 2) + 1]
        mutual, half_mutual = _find_mutual(neighbours), _find_mutual(half)
        parts = [
            _grow_sets(images, neighbours, mutual, half, half_mutual)
            for images in torch.split(torch.arange(len(neighbours), device=neighbours.device), _ROWS)
        ]
        rows, columns = (torch.cat(part) for part in zip(*parts, strict=True))
        weights = torch.exp(-self._original.compute_pairs(rows, columns))
        sums = weights.new_zeros(len(neighbours)).index_add_(0, rows, weights)
        return _SparseMatrix(rows, columns, weights / sums[rows], len(neighbours))

    def _sum_shared_weights(self, queries: Tensor) -> Tensor:
        """float64 (n, G): sums of the smaller weights, entry by entry, of the vectors of query and gallery image."""
        row, entry = self._vectors.find_entries(queries)
        pair, other = self._by_image.find_entries(self._vectors.columns[entry])
        smaller = torch.minimum(self._vectors.values[entry][pair], self._by_image.values[other])
        num_images = self._vectors.size - self._num_queries
        image = self._by_image.columns[other] - self._num_queries
        sums = smaller.new_zeros(len(queries) * num_images).index_add_(0, row[pair] * num_images + image, smaller)
        return sums.view(len(queries), num_images)


class _OriginalDistances:
    """The paper's original distances of all N images, query first, to all others; computed when they are needed.

    They are the squares of `evaluate`'s distances, divided by the largest one of each image.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self._images = torch.cat([embeddings.query, embeddings.gallery])
        self._unit = embeddings.distance == "cosine"
        self._squares = torch.cat([part.square().sum(1) for part in self._parts()])
        self._largest = torch.ones_like(self._squares)

    def find_neighbours(self, count: int) -> Tensor:
        """Find the nearest images of each, itself included; equal distances rank in the images' order.

        It also finds the largest distance of each image, so it comes before the other methods.

        Returns:
            int64 (N, count).
        """
        count = min(count, len(self._squares))
        nearest = []
        for images in torch.split(torch.arange(len(self._squares), device=self._squares.device), _ROWS):
            distances = self._compute_squared(images)
            self._largest[images] = distances.amax(1).clamp(min=1e-300)
            nearest.append(_find_smallest(distances.float(), count))
        return torch.cat(nearest)

    def compute(self, images: Tensor) -> Tensor:
        """Compute the distances, float64 (n, N) in [0, 1], of images, places (n,), to all."""
        return self._compute_squared(images) / self._largest[images][:, None]

    def compute_pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Compute the distances, float64 (P,), of images to one image each; both int64 (P,)."""
        parts = []
        for row, column in zip(torch.split(rows, _PAIRS), torch.split(columns, _PAIRS), strict=True):
            left, right = self._read(self._images[row]), self._read(self._images[column])
            parts.append(1 - (left * right).sum(1) if self._unit else (left - right).square().sum(1))
        return torch.cat(parts).square() / self._largest[rows]

    def _compute_squared(self, images: Tensor) -> Tensor:
        rows = self._read(self._images[images])
        dots = torch.cat([rows @ part.T for part in self._parts()], 1)
        if self._unit:
            return (1 - dots).square_()
        return dots.mul_(-2).add_(self._squares).add_(self._squares[images][:, None]).clamp_(min=0).square_()

    def _parts(self) -> Iterator[Tensor]:
        return (self._read(part) for part in torch.split(self._images, 4096))

    def _read(self, vectors: Tensor) -> Tensor:
        return normalize(vectors.double(), eps=1e-12) if self._unit else vectors.double()


def _find_smallest(distances: Tensor, count: int) -> Tensor:
    """int64 (n, count): columns of the smallest values of each row, ascending; equal values in column order."""
    limit = distances.kthvalue(count, dim=1, keepdim=True).values
    rows, columns = (distances <= limit).nonzero(as_tuple=True)
    order = distances[rows, columns].argsort(stable=True)
    order = order[rows[order].argsort(stable=True)]
    found = torch.bincount(rows)
    places = (found.cumsum(0) - found)[:, None] + torch.arange(count, device=distances.device)
    return columns[order[places]]


def _find_mutual(neighbours: Tensor) -> Tensor:
    """Mask, bool (N, k): True where the neighbour has the image among its own k nearest as well."""
    parts = torch.split(torch.arange(len(neighbours), device=neighbours.device), 4 * _ROWS)
    return torch.cat([(neighbours[neighbours[images]] == images[:, None, None]).any(2) for images in parts])


def _grow_sets(
    images: Tensor, neighbours: Tensor, mutual: Tensor, half: Tensor, half_mutual: Tensor
) -> tuple[Tensor, Tensor]:
    """Grow the k-reciprocal sets of some images as the paper does.

    A neighbour's own set, of half the size, joins where more than two thirds of it are in the set already.

    Args:
        images: int64 (n,).
        neighbours: int64 (N, k), nearest first.
        mutual: bool (N, k), see `_find_mutual`.
        half: int64 (N, h), the first of ``neighbours``.
        half_mutual: bool (N, h).

    Returns:
        int64 (P,) twice: image and member, ordered by image, then by member.
    """
    own = torch.where(mutual[images], neighbours[images], -1)  # (n, k)
    joining, real = half[neighbours[images]], half_mutual[neighbours[images]] & mutual[images][:, :, None]  # (n, k, h)
    inside = (joining[..., None] == own[:, None, None, :]).any(3) & real
    joins = inside.sum(2) * 3 > real.sum(2) * 2
    candidates = torch.cat([own, torch.where(real & joins[..., None], joining, -1).flatten(1)], 1)
    row, place = (candidates >= 0).nonzero(as_tuple=True)
    keys = torch.unique(images[row] * len(neighbours) + candidates[row, place])
    return keys // len(neighbours), keys % len(neighbours)


@dataclass(frozen=True, slots=True)
class _SparseMatrix:
    """A sparse matrix (N, N); its entries are ordered by row, then by column."""

    rows: Tensor
    columns: Tensor
    values: Tensor
    size: int

    def average_rows(self, groups: Tensor) -> "_SparseMatrix":
        """The matrix whose rows are means of the rows that ``groups`` (N, k) names."""
        source, entry = self.find_entries(groups.flatten())
        keys, inverse = torch.unique(source // groups.shape[1] * self.size + self.columns[entry], return_inverse=True)
        sums = self.values.new_zeros(len(keys)).index_add_(0, inverse, self.values[entry] / groups.shape[1])
        return _SparseMatrix(keys // self.size, keys % self.size, sums, self.size)

    def find_entries(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """All entries of some rows (n,), row after row: places in ``rows``, and places of the entries."""
        rows = rows.contiguous()
        first = torch.searchsorted(self.rows, rows)
        counts = torch.searchsorted(self.rows, rows, right=True) - first
        which = torch.repeat_interleave(counts)
        nth = torch.arange(len(which), device=which.device) - (counts.cumsum(0) - counts)[which]
        return which, first[which] + nth

    def drop_rows_above(self, row: int) -> "_SparseMatrix":
        """The same matrix without the entries of the rows before ``row``."""
        kept = self.rows >= row
        return _SparseMatrix(self.rows[kept], self.columns[kept], self.values[kept], self.size)

    def transpose(self) -> "_SparseMatrix":
        """The transposed matrix."""
        order = self.columns.argsort(stable=True)
        return _SparseMatrix(self.columns[order], self.rows[order], self.values[order], self.size)
