"""Ranks of the matches of many queries at once, as `reidhub.metrics.definition` defines them.

A match is a gallery image with the query's pid from another camera. A gallery image with the query's pid from the same
camera is junk and is left out. `evaluate` has already left out the gallery images with a negative pid.

The rank of a match is one more than the number of nearer gallery images. To count these images, only the distances are
sorted (``sort``). The order of the images (``argsort``) is not needed, and computing it would be much slower.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reidhub.metrics.inputs import Labels


class MatchRanker:
    """Ranks the matches of each query in the gallery.

    Args:
        labels: labels of all queries and of the gallery.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        pids, self._by_pid = labels.gallery_pids.sort(stable=True)
        self._first = torch.searchsorted(pids, labels.query_pids)
        self._count = torch.searchsorted(pids, labels.query_pids, right=True) - self._first

    def rank(self, queries: slice, distances: Tensor) -> Tensor:
        """Rank the matches among all gallery images except junk; images at equal distances rank in gallery order.

        Junk are the gallery images with both the pid and the camera of the query.

        Args:
            queries: indices of n consecutive queries.
            distances: floating (n, G), distances of these queries; those of junk are overwritten with infinity.

        Returns:
            int64 (n, M). Row i has a place for each gallery image with the pid of query i, in gallery order: the rank,
            from 1, for a match, and 0 for junk. Rows with fewer than M such images are filled up with 0.
        """
        columns, match, junk = self._find_person(queries)
        rows = torch.arange(len(distances), device=distances.device)[:, None].expand_as(columns)
        distances[rows[junk], columns[junk]] = torch.inf
        of_matches = distances.gather(1, columns).masked_fill_(~match, -torch.inf)
        nearer, not_further = _count_up_to(of_matches, distances)
        ranks = (nearer + 1).masked_fill_(~match, 0)
        tied = match & (not_further - nearer > 1)
        values: Any = distances.numpy() if distances.device.type == "cpu" else distances  # for one row, NumPy is faster
        for (row, place), column in zip(tied.nonzero().tolist(), columns[tied].tolist(), strict=True):
            ranks[row, place] += (values[row, :column] == values[row, column]).sum()
        return ranks

    def _find_person(self, queries: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Find the gallery images with the pid of each query.

        Returns:
            Three tensors (n, M): the gallery indices, a mask that is True for matches, and a mask that is True for
            junk. Rows with fewer than M images are filled up with indices for which both masks are False.
        """
        first, count = self._first[queries, None], self._count[queries, None]
        nth = torch.arange(max(1, int(count.max())), device=count.device)
        columns = self._by_pid[(first + nth).clamp(max=len(self._by_pid) - 1)]
        same_camera = self._labels.gallery_camids[columns] == self._labels.query_camids[queries, None]
        return columns, (nth < count) & ~same_camera, (nth < count) & same_camera


def _count_up_to(limits: Tensor, distances: Tensor) -> tuple[Tensor, ...]:
    """For each limit, count the smaller distances in the same row, and also the smaller or equal ones.

    Args:
        limits: (n, M), the distances of the matches.
        distances: (n, G), the distances of all gallery images.

    Returns:
        Two int64 (n, M): the number of distances < limit, and the number of distances <= limit.
    """
    if distances.device.type == "cpu":
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            counts = list(pool.map(_count_in_row, limits.numpy(), distances.numpy()))
        return torch.from_numpy(np.stack(counts, axis=1)).unbind()
    ascending = distances.sort(dim=1).values
    return torch.searchsorted(ascending, limits), torch.searchsorted(ascending, limits, right=True)


def _count_in_row(limits: NDArray[Any], distances: NDArray[Any]) -> NDArray[np.int64]:
    """For each limit (M,), count the smaller distances, and also the smaller or equal ones, in one row (G,).

    This uses NumPy, which sorts ten times as fast as torch on a CPU.

    Returns:
        int64 (2, M): the number of distances < limit, and the number of distances <= limit.
    """
    ascending = np.compress(distances <= limits.max(), distances)
    ascending.sort()
    return np.stack([ascending.searchsorted(limits), ascending.searchsorted(limits, "right")])
