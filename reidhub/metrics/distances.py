"""Distances twice: exact ones pair by pair, and approximate ones of whole tiles from a matrix product.

A matrix product in single precision rounds differently with the shape of its tiles, the number of threads and the
device, so equal embeddings need not get equal distances from it. Here it only tells which pairs cannot be told apart
by it; these are computed again in double precision, operation by operation in a fixed order, so that a rank is the
same everywhere.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reidhub.errors import EvaluationError

Distance = Literal["euclidean", "cosine"]
DISTANCES: tuple[str, ...] = get_args(Distance)

A = TypeVar("A", Tensor, NDArray[np.float64])

_ROUNDING = 2.0**-24  # largest relative error of one rounding to float32
_ROWS = 2048  # converted to float64 at a time
_VALUES = 1 << 16  # of the vectors whose exact distances are computed at a time; they stay in a processor's cache


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Query and gallery, on one device, and what is measured between them.

    Args:
        query: float32 or float64 (Q, D).
        gallery: (G, D), of the same dtype.
        distance: ``euclidean`` (squared) or ``cosine`` (1 - similarity; to a row of zeros it is 1).
    """

    query: Tensor
    gallery: Tensor
    distance: Distance

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Distances of pairs, the same bits on every machine.

        Args:
            rows: int64 (N,), places in the query.
            columns: int64 (N,), places in the gallery.

        Returns:
            float64 (N,).
        """
        at_once = max(1, _VALUES // self.query.shape[1])
        if self.query.device.type == "cpu":
            return torch.from_numpy(self._exact_on_cpu(rows.numpy(), columns.numpy(), at_once))
        at_once *= 64  # a GPU wants more to do
        pairs = zip(torch.split(rows, at_once), torch.split(columns, at_once), strict=True)
        parts = [_exact(torch, self.distance, self.query[r].double(), self.gallery[c].double()) for r, c in pairs]
        return torch.cat(parts)

    def _exact_on_cpu(self, rows: NDArray[np.int64], columns: NDArray[np.int64], at_once: int) -> NDArray[np.float64]:
        """NumPy in threads of our own: the steps are too short to wait for all of torch's threads after each."""
        query, gallery = self.query.numpy(), self.gallery.numpy()
        distances = np.empty(len(rows))

        def compute(start: int) -> None:
            part = slice(start, start + at_once)
            pair = query[rows[part]].astype(np.float64), gallery[columns[part]].astype(np.float64)
            distances[part] = _exact(np, self.distance, *pair)

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            deque(pool.map(compute, range(0, len(rows), at_once)), maxlen=0)
        return distances


def _exact(library: Any, distance: Distance, query: A, gallery: A) -> A:
    """Row by row (N, D); each step is rounded as IEEE 754 says, in NumPy, torch and on a GPU alike."""
    if distance == "cosine":
        lengths = _lengths(library, query) * _lengths(library, gallery)
        query *= gallery
        return 1 - ordered_sum(query) / lengths
    query -= gallery
    query *= query
    return ordered_sum(query)


def _lengths(library: Any, vectors: A) -> A:
    squares = ordered_sum(vectors * vectors)
    lengths: A = library.clip(library.sqrt(squares), 1e-12, None)  # that bound is the published one
    return lengths


def ordered_sum(terms: A) -> A:
    """Row sums (N, D) -> (N,) whose order of additions depends on D alone; ``terms`` is used up.

    `torch.sum` and `numpy.sum` choose their order by shape, threads and device.
    """
    while terms.shape[1] > 1:
        half = (terms.shape[1] + 1) // 2
        terms[:, : terms.shape[1] - half] += terms[:, half:]
        terms = terms[:, :half]
    return terms[:, 0]


@dataclass(frozen=True, slots=True)
class Approximation:
    """Distances from a matrix product: exact = offset + bias + query @ gallery.T, but for rounding.

    Args:
        query: float32 (Q, D), moved by the gallery's mean and multiplied by -2 or -1.
        gallery: float32 (G, D), moved by its mean, which takes the part out that all distances share.
        bias: float32 (G,).
        offset: float64 (Q,).
        least_error: float64 (Q,), of vectors at right angles.
        product: float64 (Q,), largest absolute value of query @ gallery.T that is possible.
    """

    query: Tensor
    gallery: Tensor
    bias: Tensor
    offset: Tensor
    least_error: Tensor
    product: Tensor

    @classmethod
    def of(cls, embeddings: Embeddings) -> "Approximation":
        """Prepare the operands.

        Raises:
            EvaluationError: squares of the embeddings leave the range of float32.
        """
        unit = embeddings.distance == "cosine"
        centre = _mean(embeddings.gallery, unit=unit)
        query, gallery = (_centred(part, centre, unit=unit) for part in (embeddings.query, embeddings.gallery))
        query_squares, gallery_squares = _row_dots(query, query), _row_dots(gallery, gallery)
        if unit:
            factor, bias = -1.0, -_row_dots(gallery, centre)
            offset = 1 - _row_dots(query, centre) - centre @ centre
        else:
            factor, bias, offset = -2.0, gallery_squares, query_squares
        product = -factor * query_squares.sqrt() * gallery_squares.max().sqrt()
        terms = product + offset.abs() + bias.abs().max()
        if not (terms.max() < torch.finfo(torch.float32).max):
            raise EvaluationError("expected embeddings whose squared lengths fit into float32, got longer ones")
        least = _ROUNDING * (min(query.shape[1], 8) * product + 2 * terms)
        return cls(query.mul_(factor), gallery, bias.float(), offset, least, product)

    @property
    def error(self) -> Tensor:
        """float64 (Q,): how far distances of a query may be off."""
        return self.error_of(slice(None), self.product)

    def error_of(self, queries: slice | Tensor, products: Tensor) -> Tensor:
        """How far single distances may be off.

        The bound that holds for any vectors, one rounding of the product of the lengths for each dimension, is too
        far from what happens to be of use. Partial sums of a dot product run up to its value, beside a walk by chance
        that the least error covers; roundings of partial sums being independent, their sum grows with the square root
        of the number of dimensions. benchmarks/rounding.py shows how much that leaves in reserve.

        Args:
            queries: int64 (N,), places in the query.
            products: float64 (N,), values of query @ gallery.T.
        """
        dimensions = self.query.shape[1]
        roundings: float = min(dimensions, max(2 * dimensions**0.5, 24))
        return self.least_error[queries] + _ROUNDING * roundings * products.abs()


def rows_in_double(vectors: Tensor, *, unit: bool, at_once: int = _ROWS) -> Iterator[Tensor]:
    """The rows of (N, D) in float64, ``at_once`` at a time, of length 1 where ``unit`` is set."""
    for part in torch.split(vectors, at_once):
        rows = part.double()
        yield rows / _lengths(torch, rows)[:, None] if unit else rows


def _mean(vectors: Tensor, *, unit: bool) -> Tensor:
    """float64 (D,)."""
    sums = torch.stack([part.sum(0) for part in rows_in_double(vectors, unit=unit)])
    return sums.sum(0) / len(vectors)


def _centred(vectors: Tensor, centre: Tensor, *, unit: bool) -> Tensor:
    """float32 (N, D)."""
    centred = torch.empty_like(vectors, dtype=torch.float32)
    for out, part in zip(torch.split(centred, _ROWS), rows_in_double(vectors, unit=unit), strict=True):
        out.copy_(part - centre)
    return centred


def _row_dots(left: Tensor, right: Tensor) -> Tensor:
    """float64 (N,): dot products of the rows of ``left`` (N, D) with those of ``right``, (N, D) or (D,)."""
    rights = torch.split(right.expand_as(left), _ROWS)
    dots = [(a.double() * b.double()).sum(1) for a, b in zip(torch.split(left, _ROWS), rights, strict=True)]
    return torch.cat(dots)
