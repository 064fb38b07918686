"""Ranks of all matches, by counting what is nearer; nothing is sorted but the matches, and no matrix (Q, G) exists.

For a tile of the matrix, distances become numbers of buckets that cover the range of the query's own matches. A
histogram counts the buckets no match falls into. The few images in the others are compared one by one: by the
approximate distance where it is certain, else by the exact one, else by their order in the gallery.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reidhub.metrics.distances import Approximation, Embeddings
from reidhub.metrics.matches import Matches

_ROUNDINGS = 2.0**-22  # error of a bucket's number relative to the number of buckets: two roundings to float32


@dataclass(frozen=True, slots=True)
class Tiling:
    """How much is computed at a time.

    Args:
        queries: rows of a tile.
        gallery: columns of a tile.
        buckets: of the histogram of each query, at least 8.
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
    decided = _decide(ladder, count.contested(), embeddings)
    return Ranks(ladder.rows, 1 + count.certainly_nearer() + decided)


@dataclass(frozen=True, slots=True)
class Ladder:
    """The matches of some queries without junk, by row, then exact distance, then column; and the rows' buckets.

    Args:
        queries: int64 (n,), places of the rows' queries.
        rows: int64 (P,).
        columns: int64 (P,).
        exact: float64 (P,), exact distances.
        base: float32 (n, 1): a distance x of row r falls into bucket (x - base[r]) * scale[r].
        scale: float32 (n, 1).
        height: float64 (P,), that number for the matches.
        slack: float64 (P,), how far approximate numbers of the row may be off.
        buckets: of each row; the last one takes what does not count.
    """

    queries: Tensor
    rows: Tensor
    columns: Tensor
    exact: Tensor
    base: Tensor
    scale: Tensor
    height: Tensor
    slack: Tensor
    buckets: int

    @classmethod
    def of(cls, matches: Matches, embeddings: Embeddings, approximation: Approximation, buckets: int) -> "Ladder":
        """Compute the matches' exact distances and fit the buckets to them."""
        rows, columns = matches.rows[~matches.junk], matches.columns[~matches.junk]
        exact = embeddings.exact(matches.queries[rows], columns)
        order = lexsort(columns, exact, rows)
        rows, columns, exact = rows[order], columns[order], exact[order]
        error = approximation.error[matches.queries]
        distances = exact - approximation.offset[matches.queries][rows]
        base, scale = _fit(rows, distances, error, buckets)
        height = ((distances - base.double()[rows]) * scale.double()[rows]).clamp_(0, buckets - 2)
        slack = (error * scale + buckets * _ROUNDINGS)[rows]
        return cls(matches.queries, rows, columns, exact, base[:, None], scale[:, None], height, slack, buckets)

    @property
    def keys(self) -> Tensor:
        """float64 (P,), ascending: row and height in one number."""
        return self.rows * self.buckets + self.height

    @property
    def first_bucket(self) -> Tensor:
        """int64 (P,): in row-major order of all rows' buckets, the lowest one with images not certainly nearer."""
        return self.rows * self.buckets + (self.height - self.slack).clamp(min=0).long()

    def contested(self) -> Tensor:
        """bool (n * buckets,): buckets with images that might be on either side of a match."""
        last = self.rows * self.buckets + (self.height + self.slack).clamp(max=self.buckets - 2).long()
        edges = torch.zeros(len(self.queries) * self.buckets, dtype=torch.int32, device=last.device)
        one = torch.ones_like(last, dtype=torch.int32)
        edges.index_add_(0, self.first_bucket, one).index_add_(0, last + 1, -one)
        return edges.cumsum(0) > 0


def _fit(rows: Tensor, distances: Tensor, error: Tensor, buckets: int) -> tuple[Tensor, Tensor]:
    """Base and scale (n,) such that each row's matches, with their error, fill the buckets but for the outermost."""
    low = torch.full_like(error, torch.inf).scatter_reduce_(0, rows, distances, "amin") - error
    high = torch.full_like(error, -torch.inf).scatter_reduce_(0, rows, distances, "amax") + error
    scale = (buckets - 6) / (high - low).clamp_(min=1e-30)
    return (low - 2 / scale).float(), scale.float()


@dataclass(frozen=True, slots=True)
class Contested:
    """Images in contested buckets, which have to be compared with the matches one by one.

    Args:
        rows: int64 (C,).
        columns: int64 (C,).
        keys: float64 (C,), see `Ladder.keys`; from approximate distances.
    """

    rows: Tensor
    columns: Tensor
    keys: Tensor


class _Count:
    """Goes through the gallery once, tile by tile, for the rows of one ladder."""

    def __init__(self, ladder: Ladder) -> None:
        self._ladder = ladder
        self._contested = ladder.contested()
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
        keys = heights.view(-1)[places].double() + rows * self._ladder.buckets
        self._found.append(Contested(rows, columns + start, keys))

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
        fields = zip(*((part.rows, part.columns, part.keys) for part in self._found), strict=True)
        return Contested(*(torch.cat(parts) for parts in fields))


def _decide(ladder: Ladder, contested: Contested, embeddings: Embeddings) -> Tensor:
    """int64 (P,): contested images before each match, and matches before it."""
    keys = ladder.keys
    above = torch.searchsorted(keys, contested.keys)  # (C,), the first match not below the image
    unclear = _touches(ladder, contested, above.clamp(max=len(keys) - 1))
    unclear |= _touches(ladder, contested, (above - 1).clamp(min=0))
    nearer = _count_below(above[~unclear], contested.rows[~unclear], ladder.rows)
    rows, columns = contested.rows[unclear], contested.columns[unclear]
    exact = embeddings.exact(ladder.queries[rows], columns)
    return nearer + _merged_places((ladder.rows, ladder.exact, ladder.columns), (rows, exact, columns))


def _touches(ladder: Ladder, contested: Contested, match: Tensor) -> Tensor:
    """bool (C,): the approximate distance does not tell the image from the given match of its row."""
    near = (contested.keys - ladder.keys[match]).abs() <= ladder.slack[match]
    return near & (ladder.rows[match] == contested.rows)


def _count_below(above: Tensor, rows: Tensor, match_rows: Tensor) -> Tensor:
    """For each match, the images of its row that lie below it: ``above`` names the first match not below each."""
    up_to = torch.bincount(above, minlength=len(match_rows) + 1).cumsum(0)[:-1]
    in_row = torch.bincount(rows, minlength=int(match_rows[-1]) + 1)
    return up_to - (in_row.cumsum(0) - in_row)[match_rows]


def _merged_places(matches: tuple[Tensor, Tensor, Tensor], others: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Place of each match, from 0, among matches and others of its row; both are (rows, distances, columns)."""
    rows, distances, columns = (torch.cat(pair) for pair in zip(matches, others, strict=True))
    order = lexsort(columns, distances, rows)
    in_row = torch.bincount(rows)
    starts = in_row.cumsum(0) - in_row
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device) - starts[rows[order]]
    return places[: len(matches[0])]


def lexsort(*keys: Tensor) -> Tensor:
    """Order (N,) by the last key; where that is equal, by the one before, and so on."""
    order = keys[0].argsort(stable=True)
    for key in keys[1:]:
        order = order[key[order].argsort(stable=True)]
    return order
