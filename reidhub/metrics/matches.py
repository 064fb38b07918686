"""Who is who: the gallery images that show a query's person, and which of them are junk."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_PAIRS = 1 << 16  # of one run of queries; bounds what is kept for it where an identity has very many images


@dataclass(frozen=True, slots=True)
class Labels:
    """pid and camid of query (Q,) and gallery (G,), all int64 and on one device."""

    query_pids: Tensor
    gallery_pids: Tensor
    query_camids: Tensor
    gallery_camids: Tensor


@dataclass(frozen=True, slots=True)
class Matches:
    """All pairs of some queries with gallery images of the same pid, query after query.

    Args:
        queries: int64 (n,), places of the queries that have a match from another camera, ascending.
        rows: int64 (N,), places in ``queries``, ascending.
        columns: int64 (N,), places in the gallery, ascending for each row.
        junk: bool (N,), True where the camera is the same too: such a pair is neither right nor wrong.
    """

    queries: Tensor
    rows: Tensor
    columns: Tensor
    junk: Tensor


class MatchIndex:
    """Finds the matches of any query without comparing it to the whole gallery."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        pids, self._columns = labels.gallery_pids.sort(stable=True)
        self._first = torch.searchsorted(pids, labels.query_pids)
        self._counts = torch.searchsorted(pids, labels.query_pids, right=True) - self._first

    def runs(self, max_queries: int) -> Iterator[slice]:
        """Cut the queries into runs of at most ``max_queries`` and a bounded number of pairs."""
        start, pairs = 0, 0
        for place, count in enumerate(self._counts.tolist()):
            if place > start and (place - start == max_queries or pairs + count > _PAIRS):
                yield slice(start, place)
                start, pairs = place, 0
            pairs += count
        yield slice(start, len(self._counts))

    def find(self, run: slice) -> Matches:
        """The matches of a run of queries."""
        counts = self._counts[run]
        rows = torch.repeat_interleave(counts)  # (N,), places in the run
        nth = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
        columns = self._columns[self._first[run][rows] + nth]
        junk = self._labels.gallery_camids[columns] == self._labels.query_camids[run][rows]
        has_match = torch.zeros(len(counts), dtype=torch.bool, device=rows.device)
        has_match[rows[~junk]] = True
        kept = has_match[rows]
        places = has_match.cumsum(0) - 1
        queries = run.start + has_match.nonzero()[:, 0]
        return Matches(queries, places[rows[kept]], columns[kept], junk[kept])
