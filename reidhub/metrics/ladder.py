"""The matches of some queries in the order of their distances, and what lies between them.

A distance is written as a height: buckets from the lower end of a range that the row's own matches span. Rows are told
apart by adding a number of buckets for each; such a sum is a key, and keys of matches ascend.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reidhub.metrics.distances import Approximation, Embeddings
from reidhub.metrics.matches import Matches

_ROUNDINGS = 2.0**-22  # error of a height relative to the number of buckets: two roundings to float32 and a reserve


@dataclass(frozen=True, slots=True)
class Contested:
    """Images that have to be compared with the matches one by one.

    Args:
        rows: int64 (C,).
        columns: int64 (C,).
        heights: float64 (C,), from approximate distances.
    """

    rows: Tensor
    columns: Tensor
    heights: Tensor

    def take(self, places: Tensor) -> "Contested":
        """Some of them."""
        return Contested(self.rows[places], self.columns[places], self.heights[places])


@dataclass(frozen=True, slots=True)
class Ladder:
    """The matches of n queries without junk, by row, then exact distance, then column.

    Args:
        queries: int64 (n,), places of the rows' queries.
        rows: int64 (P,).
        columns: int64 (P,).
        exact: float64 (P,), exact distances.
        base: float32 (n, 1): the height of an approximate distance x is (x - base) * scale.
        scale: float32 (n, 1).
        heights: float64 (P,), from exact distances.
        slack: float64 (n,), how far heights from approximate distances may be off.
        buckets: of each row; the last one takes what does not count.
    """

    queries: Tensor
    rows: Tensor
    columns: Tensor
    exact: Tensor
    base: Tensor
    scale: Tensor
    heights: Tensor
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
        heights = ((distances - base.double()[rows]) * scale.double()[rows]).clamp_(0, buckets - 2)
        slack = error * scale + buckets * _ROUNDINGS
        return cls(matches.queries, rows, columns, exact, base[:, None], scale[:, None], heights, slack, buckets)

    def keys(self, rows: Tensor, heights: Tensor) -> Tensor:
        """float64 (N,): row and height in one number."""
        return rows * self.buckets + heights

    @property
    def first_bucket(self) -> Tensor:
        """int64 (P,), of all rows' buckets in a line: everything below is certainly nearer than the match."""
        return self.keys(self.rows, (self.heights - self.slack[self.rows]).clamp(min=0)).long()

    def contested_buckets(self) -> Tensor:
        """bool (n * buckets,): where images may be on either side of a match."""
        highest = (self.heights + self.slack[self.rows]).clamp(max=self.buckets - 2)
        behind = self.keys(self.rows, highest).long() + 1
        edges = torch.zeros(len(self.queries) * self.buckets, dtype=torch.int32, device=behind.device)
        one = torch.ones_like(behind, dtype=torch.int32)
        return edges.index_add_(0, self.first_bucket, one).index_add_(0, behind, -one).cumsum_(0) > 0

    def decide(self, contested: Contested, embeddings: Embeddings, approximation: Approximation) -> Tensor:
        """int64 (P,): contested images nearer than each match, plus the row's nearer matches."""
        keys = self.keys(self.rows, self.heights)
        above = torch.searchsorted(keys, self.keys(contested.rows, contested.heights))  # (C,), match not below
        unclear = self._touch(contested, above, self.slack[contested.rows])
        near = contested.take(unclear)
        unclear = unclear[self._touch(near, above[unclear], self._own_slack(near, approximation))]
        clear = torch.ones_like(above, dtype=torch.bool).index_fill_(0, unclear, False)
        nearer = _count_below(above[clear], contested.rows[clear], self.rows)
        return nearer + self._places_among(contested.take(unclear), embeddings)

    def _touch(self, contested: Contested, above: Tensor, slack: Tensor) -> Tensor:
        """Places of the images whose height, give or take ``slack`` (C,), is that of a match of their row."""
        touch = torch.zeros_like(above, dtype=torch.bool)
        for match in (above.clamp(max=len(self.rows) - 1), (above - 1).clamp(min=0)):
            near = (contested.heights - self.heights[match]).abs() <= slack
            touch |= near & (self.rows[match] == contested.rows)
        return touch.nonzero()[:, 0]

    def _own_slack(self, contested: Contested, approximation: Approximation) -> Tensor:
        """float64 (C,): how far the height of each image may be off; less than what holds for all of its row."""
        base, scale = self.base.double()[contested.rows, 0], self.scale.double()[contested.rows, 0]
        products = contested.heights / scale + base - approximation.bias[contested.columns]
        errors = approximation.error_of(self.queries[contested.rows], products)
        return errors * scale + self.buckets * _ROUNDINGS

    def _places_among(self, unclear: Contested, embeddings: Embeddings) -> Tensor:
        """int64 (P,): place of each match, from 0, among the matches and the given images of its row."""
        exact = embeddings.exact(self.queries[unclear.rows], unclear.columns)
        rows = torch.cat([self.rows, unclear.rows])
        order = lexsort(torch.cat([self.columns, unclear.columns]), torch.cat([self.exact, exact]), rows)
        places = torch.empty_like(order)
        places[order] = torch.arange(len(order), device=order.device)
        return (places - starts_of(rows)[rows])[: len(self.rows)]


def _fit(rows: Tensor, distances: Tensor, error: Tensor, buckets: int) -> tuple[Tensor, Tensor]:
    """Base and scale (n,) such that each row's matches, with their error, fill the buckets but for the outermost."""
    low = torch.full_like(error, torch.inf).scatter_reduce_(0, rows, distances, "amin") - error
    high = torch.full_like(error, -torch.inf).scatter_reduce_(0, rows, distances, "amax") + error
    scale = (buckets - 6) / (high - low).clamp_(min=1e-30)
    return (low - 2 / scale).float(), scale.float()


def _count_below(above: Tensor, rows: Tensor, match_rows: Tensor) -> Tensor:
    """For each match, the images of its row that lie below it: ``above`` names the first match not below each."""
    up_to = torch.bincount(above, minlength=len(match_rows) + 1).cumsum(0)[:-1]
    return up_to - starts_of(torch.cat([rows, match_rows[-1:]]))[match_rows]


def starts_of(rows: Tensor) -> Tensor:
    """int64 (n,): how many of ``rows`` (N,) are below 0, 1, 2, ... up to the largest."""
    counts = torch.bincount(rows)
    return counts.cumsum(0) - counts


def lexsort(*keys: Tensor) -> Tensor:
    """Order (N,) by the last key; where that is equal, by the one before, and so on."""
    order = keys[0].argsort(stable=True)
    for key in keys[1:]:
        order = order[key[order].argsort(stable=True)]
    return order
