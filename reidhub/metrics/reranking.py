"""k-reciprocal re-ranking (Zhong et al., CVPR 2017, arXiv 1701.08398).

Re-ranking makes the distance of two images smaller if they have the same neighbours.

Two images are k-reciprocal neighbours if each is among the k nearest images of the other. Each image has a set: its
k-reciprocal neighbours, and some neighbours of these neighbours. Each of the N images (query and gallery) gets a vector
with N weights, one for each image. The weights of images outside its set are 0. The vector is then averaged with the
vectors of the nearest images.

The re-ranked distance is a weighted mean of two distances: the Jaccard distance of the vectors, and the "original
distance". The original distance from image a to image b is d(a, b)^2, divided by the largest d(a, x)^2 of all images x.
d is the distance that `evaluate` uses without re-ranking. The authors' code does the same.

Everything is computed in float64; only the result is float32. The (N, N) matrix of distances between all images is
never completely in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from reidhub.metrics.inputs import Embeddings
from reidhub.metrics.sparse_matrix import SparseMatrix

_ROWS = 128  # images whose distances to all others are in memory at a time
_QUERIES = 64  # queries whose re-ranked distances are computed at a time
_PAIRS = 1 << 13  # pairs of embeddings that are compared at a time


@dataclass(frozen=True, slots=True)
class Reranking:
    """Parameters of the re-ranking; published scores with re-ranking use the defaults.

    Args:
        k1: number of nearest images, without the image itself, among which k-reciprocal neighbours are searched.
        k2: number of nearest images, with the image itself, whose vectors are averaged.
        blend: weight of the original distance, in [0, 1]; lambda in the paper.
    """

    k1: int = 20
    k2: int = 6
    blend: float = 0.3


class Reranker:
    """Computes the re-ranked distances of a retrieval.

    Args:
        embeddings: query and gallery.
        parameters: k1, k2 and the weight of the original distance.
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
        """Compute all re-ranked distances, and yield them in parts: the indices of n queries, and distances (n, G)."""
        places = torch.arange(self._num_queries, device=self._vectors.rows.device)
        for start in range(0, self._num_queries, _QUERIES):
            queries = slice(start, min(start + _QUERIES, self._num_queries))
            yield queries, self.distances(places[queries])

    def distances(self, queries: Tensor) -> Tensor:
        """Compute the re-ranked distances of some queries to the gallery.

        Distances that differ only by the rounding errors of float64 become equal in float32.

        Args:
            queries: int64 (n,), indices of the queries.

        Returns:
            float32 (n, G).
        """
        shared = self._sum_shared_weights(queries)
        original = self._original.compute(queries)[:, self._num_queries :]
        blend = self._parameters.blend
        return ((1 - shared / (2 - shared)) * (1 - blend) + original * blend).float()

    def _weigh_neighbours(self, neighbours: Tensor) -> SparseMatrix:
        """Compute the vectors of all images, without averaging them with the vectors of the nearest images.

        The vector of an image contains the weights of the images in its set (see `_grow_sets`), and 0 for all other
        images. The weights sum to 1.

        Args:
            neighbours: int64 (N, k1 + 1), the nearest images of each image, nearest first.

        Returns:
            float64 (N, N), one row for each image.
        """
        half = neighbours[:, : round(self._parameters.k1 / 2) + 1]
        mutual, half_mutual = _find_mutual(neighbours), _find_mutual(half)
        parts = [
            _grow_sets(images, neighbours, mutual, half, half_mutual)
            for images in torch.split(torch.arange(len(neighbours), device=neighbours.device), _ROWS)
        ]
        rows, columns = (torch.cat(part) for part in zip(*parts, strict=True))
        weights = torch.exp(-self._original.compute_pairs(rows, columns))
        sums = weights.new_zeros(len(neighbours)).index_add_(0, rows, weights)
        return SparseMatrix(rows, columns, weights / sums[rows], len(neighbours))

    def _sum_shared_weights(self, queries: Tensor) -> Tensor:
        """For each query and each gallery image, sum the elementwise minimum of their two vectors.

        Args:
            queries: int64 (n,), indices of the queries.

        Returns:
            float64 (n, G).
        """
        row, entry = self._vectors.find_entries(queries)
        pair, other = self._by_image.find_entries(self._vectors.columns[entry])
        smaller = torch.minimum(self._vectors.values[entry][pair], self._by_image.values[other])
        num_images = self._vectors.size - self._num_queries
        image = self._by_image.columns[other] - self._num_queries
        sums = smaller.new_zeros(len(queries) * num_images).index_add_(0, row[pair] * num_images + image, smaller)
        return sums.view(len(queries), num_images)


class _OriginalDistances:
    """Computes the original distances between the N images; the query images come first.

    The original distance from image a to image b is d(a, b)^2, divided by the largest d(a, x)^2 of all images x. d is
    the distance that `evaluate` uses without re-ranking.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self._images = torch.cat([embeddings.query, embeddings.gallery])
        self._unit = embeddings.distance == "cosine"
        self._squares = torch.cat([part.square().sum(1) for part in self._parts()])
        self._largest = torch.ones_like(self._squares)

    def find_neighbours(self, count: int) -> Tensor:
        """Find the ``count`` nearest images of each image; the image itself is one of them.

        Images whose distances are equal in float32 are in ascending order of index. Call this method before the others:
        it also stores the largest squared distance of each image, which the other methods need.

        Returns:
            int64 (N, count), nearest first; fewer columns if N is smaller than ``count``.
        """
        count = min(count, len(self._squares))
        nearest = []
        for images in torch.split(torch.arange(len(self._squares), device=self._squares.device), _ROWS):
            distances = self._compute_squared(images)
            self._largest[images] = distances.amax(1).clamp(min=1e-300)
            nearest.append(_find_smallest(distances.float(), count))
        return torch.cat(nearest)

    def compute(self, images: Tensor) -> Tensor:
        """Compute the distances from some images to all images.

        Args:
            images: int64 (n,), indices of the images.

        Returns:
            float64 (n, N) in [0, 1].
        """
        return self._compute_squared(images) / self._largest[images][:, None]

    def compute_pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Compute the distances of P pairs of images.

        Args:
            rows: int64 (P,), index of the first image of each pair.
            columns: int64 (P,), index of the second image.

        Returns:
            float64 (P,) in [0, 1].
        """
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
    """Find the columns of the ``count`` smallest values in each row.

    Returns:
        int64 (n, count), smallest value first; equal values are in column order.
    """
    limit = distances.kthvalue(count, dim=1, keepdim=True).values
    rows, columns = (distances <= limit).nonzero(as_tuple=True)
    order = distances[rows, columns].argsort(stable=True)
    order = order[rows[order].argsort(stable=True)]
    found = torch.bincount(rows)
    places = (found.cumsum(0) - found)[:, None] + torch.arange(count, device=distances.device)
    return columns[order[places]]


def _find_mutual(neighbours: Tensor) -> Tensor:
    """Find out which of the k nearest images of each image are its k-reciprocal neighbours.

    Args:
        neighbours: int64 (N, k), the nearest images of each image.

    Returns:
        bool (N, k): entry [i, j] is True if image i is also among the k nearest images of ``neighbours[i, j]``.
    """
    parts = torch.split(torch.arange(len(neighbours), device=neighbours.device), 4 * _ROWS)
    return torch.cat([(neighbours[neighbours[images]] == images[:, None, None]).any(2) for images in parts])


def _grow_sets(
    images: Tensor, neighbours: Tensor, mutual: Tensor, half: Tensor, half_mutual: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the sets of some images as the paper does: k-reciprocal neighbours, and some of their neighbours.

    At first, the set of an image contains its k-reciprocal neighbours. Each of these neighbours has a smaller set: its
    own k-reciprocal neighbours, with k about half as large. A smaller set is added to the image's set if more than two
    thirds of the smaller set are among the image's k-reciprocal neighbours.

    Args:
        images: int64 (n,), indices of the images.
        neighbours: int64 (N, k), nearest first.
        mutual: bool (N, k), mask from `_find_mutual` for ``neighbours``.
        half: int64 (N, h), the first h columns of ``neighbours``, for the smaller sets.
        half_mutual: bool (N, h), mask from `_find_mutual` for ``half``.

    Returns:
        Two int64 (P,), for P pairs: the index of an image, and the index of an image in its set. The pairs are
        ordered by the first index, then by the second.
    """
    own = torch.where(mutual[images], neighbours[images], -1)  # (n, k)
    joining, real = half[neighbours[images]], half_mutual[neighbours[images]] & mutual[images][:, :, None]  # (n, k, h)
    inside = (joining[..., None] == own[:, None, None, :]).any(3) & real
    joins = inside.sum(2) * 3 > real.sum(2) * 2
    candidates = torch.cat([own, torch.where(real & joins[..., None], joining, -1).flatten(1)], 1)
    row, place = (candidates >= 0).nonzero(as_tuple=True)
    keys = torch.unique(images[row] * len(neighbours) + candidates[row, place])
    return keys // len(neighbours), keys % len(neighbours)
