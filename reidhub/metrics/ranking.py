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
        run: queries whose matches are compared at once.
        queries: rows of a tile.
        gallery: columns of a tile.
        buckets: of the histogram of each row, at least 8.
    """

    run: int
    queries: int
    gallery: int
    buckets: int

    @classmethod
    def for_device(cls, device: torch.device) -> "Tiling":
        """Tiles that stay in the cache of a processor, or that keep a GPU busy."""
        return cls(2048, 2048, 1 << 15, 4096) if device.type == "cuda" else cls(1024, 256, 1 << 13, 2048)


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
    count = _Count(ladder, matches)
    for first in range(0, len(matches.queries), tiling.queries):
        query = approximation.query[matches.queries[first : first + tiling.queries]]
        for start in range(0, len(approximation.gallery), tiling.gallery):
            part = slice(start, start + tiling.gallery)
            tile = torch.addmm(approximation.bias[part], query, approximation.gallery[part].T)
            count.add(tile, first, start)
    decided = ladder.decide(count.contested(), embeddings, approximation)
    return Ranks(ladder.rows, 1 + count.certainly_nearer() + decided)


class _Count:
    """Goes through the gallery once, tile by tile, for the rows of one ladder."""

    def __init__(self, ladder: Ladder, matches: Matches) -> None:
        self._ladder = ladder
        self._matches = matches
        self._contested = ladder.contested_buckets()
        self._histogram = torch.zeros_like(self._contested, dtype=torch.int32)
        self._found: list[Contested] = []

    def add(self, tile: Tensor, first: int, start: int) -> None:
        """Count a tile (n, w) of approximate distances from row ``first`` and column ``start`` on; it is used up."""
        size = self._ladder.buckets
        mine = slice(first * size, (first + len(tile)) * size)
        heights = self._heights(tile, first, start)
        offsets = torch.arange(len(tile), device=tile.device, dtype=torch.int32) * size
        buckets = heights.to(torch.int32).add_(offsets[:, None]).view(-1)
        self._histogram[mine] += torch.bincount(buckets, minlength=len(tile) * size).int()
        places = self._contested[mine].index_select(0, buckets).nonzero()[:, 0]
        rows, columns = places // tile.shape[1] + first, places % tile.shape[1] + start
        self._found.append(Contested(rows, columns, heights.view(-1)[places].double()))

    def _heights(self, tile: Tensor, first: int, start: int) -> Tensor:
        """In buckets; images with the query's pid, matches and junk, go where nothing is looked for."""
        ladder, mine = self._ladder, slice(first, first + len(tile))
        heights = tile.sub_(ladder.base[mine]).mul_(ladder.scale[mine]).clamp_(0, ladder.buckets - 2)
        rows, columns = self._matches.rows - first, self._matches.columns - start
        inside = (rows >= 0) & (rows < tile.shape[0]) & (columns >= 0) & (columns < tile.shape[1])
        heights[rows[inside], columns[inside]] = ladder.buckets - 1
        return heights

    def certainly_nearer(self) -> Tensor:
        """int64 (P,): images in uncontested buckets below each match."""
        self._histogram[self._contested] = 0
        counts = self._histogram.view(-1, self._ladder.buckets)
        return counts.cumsum(1, dtype=torch.int32).sub_(counts).view(-1)[self._ladder.first_bucket]

    def contested(self) -> Contested:
        """The images that were not counted."""
        fields = zip(*((part.rows, part.columns, part.heights) for part in self._found), strict=True)
        return Contested(*(torch.cat(parts) for parts in fields))
