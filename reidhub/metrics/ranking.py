"""Ranks of all matches, by counting what is nearer; nothing is sorted but the matches, and no matrix (Q, G) exists.

For a tile of the matrix, approximate distances become numbers of buckets. A histogram counts the buckets no match
falls into. The few images in the others are compared one by one: by the approximate distance where that is certain,
else by the exact one, else by their order in the gallery.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reidhub.metrics.distances import Approximation, Embeddings
from reidhub.metrics.ladder import Contested, Ladder
from reidhub.metrics.matches import Matches


@dataclass(frozen=True, slots=True)
class Tiling:
    """How much is computed at a time.

    Args:
        queries: rows of a tile.
        gallery: columns of a tile.
        buckets: of the histogram of each row, at least 8.
    """

    queries: int
    gallery: int
    buckets: int

    @classmethod
    def for_device(cls, device: torch.device) -> "Tiling":
        """Tiles that stay in the cache of a processor, or that keep a GPU busy."""
        return cls(2048, 1 << 15, 4096) if device.type == "cuda" else cls(256, 1 << 14, 4096)


@dataclass(frozen=True, slots=True)
class Ranks:
    """Ranks of matches, query after query, and nearest first for each.

    Args:
        rows: int64 (P,), places in ``Matches.queries``, ascending.
        ranks: int64 (P,), counted from 1 among all gallery images that are not junk.
    """

    rows: Tensor
    ranks: Tensor


def rank(matches: Matches, embeddings: Embeddings, approximation: Approximation, tiling: Tiling) -> Ranks:
    """Rank the matches of some queries in the whole gallery; equal distances rank in gallery order.

    Args:
        matches: at least one pair that is not junk for each query.
        embeddings: of all queries and the gallery.
        approximation: of the same.
        tiling: changes the time it takes, never a rank.
    """
    ladder = Ladder.of(matches, embeddings, approximation, tiling.buckets)
    query, count = approximation.query[matches.queries], _Count(ladder)
    for start in range(0, len(approximation.gallery), tiling.gallery):
        part = slice(start, start + tiling.gallery)
        tile = torch.addmm(approximation.bias[part], query, approximation.gallery[part].T)
        count.add(tile, matches, start)
    decided = ladder.decide(count.contested(), embeddings, approximation)
    return Ranks(ladder.rows, 1 + count.certainly_nearer() + decided)


class _Count:
    """Goes through the gallery once, tile by tile, for the rows of one ladder."""

    def __init__(self, ladder: Ladder) -> None:
        self._ladder = ladder
        self._contested = ladder.contested_buckets()
        self._histogram = torch.zeros_like(self._contested, dtype=torch.int64)
        self._found: list[Contested] = []

    def add(self, tile: Tensor, matches: Matches, start: int) -> None:
        """Count a tile of approximate distances (n, w); its first column is ``start``. The tile is used up."""
        heights = self._heights(tile, matches, start)
        offsets = torch.arange(len(tile), device=tile.device, dtype=torch.int32) * self._ladder.buckets
        buckets = heights.to(torch.int32).add_(offsets[:, None]).view(-1)
        self._histogram += torch.bincount(buckets, minlength=len(self._histogram))
        places = self._contested.index_select(0, buckets).nonzero()[:, 0]
        rows, columns = places // tile.shape[1], places % tile.shape[1]
        self._found.append(Contested(rows, columns + start, heights.view(-1)[places].double()))

    def _heights(self, tile: Tensor, matches: Matches, start: int) -> Tensor:
        """In buckets; images with the query's pid, matches and junk, go where nothing is looked for."""
        ladder = self._ladder
        heights = tile.sub_(ladder.base).mul_(ladder.scale).clamp_(0, ladder.buckets - 2)
        here = (matches.columns >= start) & (matches.columns < start + tile.shape[1])
        heights[matches.rows[here], matches.columns[here] - start] = ladder.buckets - 1
        return heights

    def certainly_nearer(self) -> Tensor:
        """int64 (P,): images in uncontested buckets below each match."""
        self._histogram[self._contested] = 0
        counts = self._histogram.view(-1, self._ladder.buckets)
        return (counts.cumsum(1) - counts).view(-1)[self._ladder.first_bucket]

    def contested(self) -> Contested:
        """The images that were not counted."""
        fields = zip(*((part.rows, part.columns, part.heights) for part in self._found), strict=True)
        return Contested(*(torch.cat(parts) for parts in fields))
