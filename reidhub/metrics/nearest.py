"""Finds the nearest gallery images of each query exactly, in a gallery that is added in parts.

The embeddings of the gallery need not fit into memory: a part can be dropped after its search. Only the nearest images
that were found so far are kept.

A matrix product in float32 gives rough distances, and the size of their rounding errors is limited. If the rough
distance of a pair is larger than the k-th distance found so far, by more than this limit, the pair is skipped. The
distances of the other pairs are computed again in float64, directly from the two embeddings, and rounded to float32. So
equal embeddings always have equal distances, and the result does not depend on how the gallery is cut into parts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from reidhub.errors import EvaluationError
from reidhub.metrics.inputs import DISTANCES, Distance
from reidhub.torch_settings import Arithmetic

_QUERIES = 256  # queries that are compared with a tile at a time
_TILE_ROWS = (
    8192  # gallery images in a tile; their rough distances take 8 MiB, which fits into the cache of a processor
)
_TILE_ROWS_ON_GPU = 1 << 18
_PAIR_VALUES = 1 << 20  # values of embeddings that are compared in float64 at a time; they take 8 MiB
_ROUNDING = 2.0**-24  # largest relative error of one operation in float32
_SHORTEST = 1e-12  # embeddings that are shorter have no direction: `torch.nn.functional.normalize` divides by this
_MANY = 4  # candidates per wanted image: if a tile has more, their number is reduced before float64 is used


@dataclass(frozen=True, slots=True)
class _Rough:
    """Rough distances between some queries and a tile of the gallery.

    Args:
        values: float32 (q, n); the distance is about ``values + terms``.
        terms: float64 (q, 1).
        error: float64 (q, 1), largest difference between a rough distance and the exact distance.
    """

    values: Tensor
    terms: Tensor
    error: Tensor


class NearestSearch:
    """Finds the nearest gallery images of each query; images at equal distances are in gallery order.

    Args:
        query: float32 (Q, D), on the device that computes.
        count: number of gallery images to find for each query, above 0.
        distance: ``euclidean`` (squared) or ``cosine`` (1 - similarity; 1 for an embedding of zeros).

    Attributes:
        seen: number of gallery images that were added.

    Raises:
        EvaluationError: the queries do not have the shape (Q, D), are not finite, or their squared lengths do not fit
            into float32; or the count is below 1, or the distance is unknown.
    """

    def __init__(self, query: Tensor, count: int, distance: Distance = "euclidean") -> None:
        if distance not in DISTANCES:
            raise EvaluationError(f"expected a distance of {', '.join(DISTANCES)}, got {distance!r}")
        if count < 1:
            raise EvaluationError(f"expected at least 1 image to find, got {count}")
        if query.ndim != 2 or 0 in query.shape:
            raise EvaluationError(f"expected query embeddings (Q, D), got shape {tuple(query.shape)}")
        _measure("query", query.float(), 0)
        self.seen = 0
        self._count, self._cosine = count, distance == "cosine"
        self._query = normalize(query.double()) if self._cosine else query.double()
        self._distances = torch.full((len(query), count), torch.inf, device=query.device)
        self._places = torch.full((len(query), count), -1, dtype=torch.int64, device=query.device)

    @property
    def distances(self) -> Tensor:
        """float32 (Q, k), ascending; k is min(count, seen). Infinity where too many images of a query were left out."""
        return self._distances[:, : self.seen]

    @property
    def places(self) -> Tensor:
        """int64 (Q, k), indices of the nearest images among all that were added; -1 where the distance is infinity."""
        return self._places[:, : self.seen]

    @torch.inference_mode()
    def add(self, gallery: Tensor, left_out: Tensor | None = None) -> None:
        """Search the next part of the gallery.

        Args:
            gallery: float32 (n, D), on the device of the queries; n may be 0.
            left_out: int64 (L, 2), index of a query and index of an image in this part: pairs that must not be in the
                result; None for no pairs.

        Raises:
            EvaluationError: the part has another shape or is on another device, its embeddings are not finite, or their
                squared lengths do not fit into float32.
        """
        if gallery.ndim != 2 or gallery.shape[1] != self._query.shape[1] or gallery.device != self._query.device:
            wanted = f"(n, {self._query.shape[1]}) on {self._query.device}"
            raise EvaluationError(f"expected gallery embeddings {wanted}, got {gallery.shape} on {gallery.device}")
        rows = _TILE_ROWS if gallery.device.type == "cpu" else _TILE_ROWS_ON_GPU
        for start in range(0, len(gallery), rows):
            tile = gallery[start : start + rows].float()
            lengths = _measure("gallery", tile, self.seen)
            for first in range(0, len(self._query), _QUERIES):
                rough = self._compare(slice(first, first + _QUERIES), tile, lengths)
                if left_out is not None:
                    row, column = (left_out - left_out.new_tensor([first, start])).unbind(1)
                    inside = (row >= 0) & (row < len(rough.values)) & (column >= 0) & (column < len(tile))
                    rough.values[row[inside], column[inside]] = torch.inf
                self._search(first, rough, tile)
            self.seen += len(tile)

    def _compare(self, queries: slice, tile: Tensor, lengths: Tensor) -> _Rough:
        """Compute the rough distances of q queries to a tile (n, D) of embeddings with these lengths (n,).

        In float32, the error of a sum of D products is at most about D * 2^-24 times the product of the two lengths.
        The factor 3 and the 8 extra roundings also cover the sums of squares and all other steps.
        """
        query = self._query[queries]
        relative = 3 * (query.shape[1] + 8) * _ROUNDING
        with Arithmetic().on(tile.device):
            if self._cosine:
                values = torch.mm(query.float(), tile.T).mul_(-1 / lengths.clamp(min=_SHORTEST))
                return _Rough(values, torch.ones_like(query[:, :1]), torch.full_like(query[:, :1], relative))
            squares = lengths.square()
            values = torch.addmm(squares, query.float(), tile.T, alpha=-2)  # |q - g|^2 - |q|^2 = |g|^2 - 2 q g
        terms = query.square().sum(1, keepdim=True)
        underflow = torch.finfo(torch.float32).tiny * query.shape[1]
        return _Rough(values, terms, relative * (terms + squares.max()) + underflow)

    def _search(self, first: int, rough: _Rough, tile: Tensor) -> None:
        """Find the pairs that can change the result, and put those that are near enough into it.

        Args:
            first: index of the first of the q queries.
            rough: rough distances of the q queries to the tile.
            tile: (n, D), the gallery embeddings.
        """
        kth = self._distances[first : first + len(rough.values), -1:].double()
        limits = _round_up(kth - rough.terms + rough.error)
        rows = (rough.values.amin(1, keepdim=True) < limits).nonzero()[:, 0]
        if not len(rows):
            return
        values, limits = rough.values[rows], limits[rows]
        candidates = values < limits
        if values.shape[1] > self._count and candidates.sum(1).max() > _MANY * self._count:
            kth = values.kthvalue(self._count, dim=1, keepdim=True).values.double()
            candidates = values < torch.minimum(limits, _round_up(kth + 2 * rough.error[rows]))
        row, column = candidates.nonzero().unbind(1)
        queries = first + rows
        pairs = max(1, _PAIR_VALUES // tile.shape[1])
        distances = [
            self._measure_pairs(queries[some], tile[others])
            for some, others in zip(torch.split(row, pairs), torch.split(column, pairs), strict=True)
        ]
        self._merge(queries, row, torch.cat(distances), self.seen + column)

    def _measure_pairs(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Compute the distances of P pairs: queries with these indices (P,), and gallery embeddings (P, D)."""
        query, gallery = self._query[queries], gallery.double()
        if self._cosine:
            return (1 - (query * normalize(gallery)).sum(1)).clamp_(min=0).float()
        return (query - gallery).square().sum(1).float()

    def _merge(self, queries: Tensor, row: Tensor, distances: Tensor, places: Tensor) -> None:
        """Put P pairs into the result of some queries, if they are among the nearest.

        Args:
            queries: int64 (q,), indices of the queries.
            row: int64 (P,), index of each pair's query in ``queries``; ascending.
            distances: float32 (P,), distance of each pair.
            places: int64 (P,), index of each pair's gallery image; ascending for each query.
        """
        count = self._count
        row = torch.cat([torch.arange(len(queries), device=row.device).repeat_interleave(count), row])
        distances = torch.cat([self._distances[queries].flatten(), distances])
        places = torch.cat([self._places[queries].flatten(), places])
        order = distances.argsort(stable=True)  # what was found earlier comes before later images at the same distance
        order = order[row[order].argsort(stable=True)]
        sizes = torch.bincount(row)
        kept = order[(sizes.cumsum(0) - sizes)[:, None] + torch.arange(count, device=row.device)]
        self._distances[queries], self._places[queries] = distances[kept], places[kept]


def _measure(name: str, rows: Tensor, seen: int) -> Tensor:
    """Return the lengths (n,) of embeddings (n, D).

    Raises:
        EvaluationError: an embedding is not finite, or its squared length does not fit into float32.
    """
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    fit = lengths.square() < torch.finfo(torch.float32).max / 8
    if not fit.all():
        place = int(fit.logical_not().nonzero()[0])
        what = "one that is too long for float32" if rows[place].isfinite().all() else "NaN or infinity"
        raise EvaluationError(f"expected finite embeddings, got {what} in row {seen + place} of {name}")
    return lengths


def _round_up(limits: Tensor) -> Tensor:
    """Round float64 to float32, upwards, so that ``value < result`` is also true for each float32 value <= limit."""
    rounded = limits.float()
    return torch.nextafter(rounded, torch.full_like(rounded, torch.inf))
