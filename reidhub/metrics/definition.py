"""The definition of CMC, mAP and mINP, in simple code for one query at a time, which is easy to compare with the paper.

The protocol is the single-query protocol of Market-1501 (Zheng et al., "Scalable Person Re-identification: A
Benchmark", ICCV 2015). Published tables apply it to the other datasets too. mINP is from Ye et al., "Deep Learning for
Person Re-identification: A Survey and Outlook" (arXiv 2001.04193).

`reidhub.metrics.evaluate` computes the same scores fast. It does not call these functions; tests compare the two.
"""

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor


def match_ranks(distances: Tensor, pids: Tensor, camids: Tensor, pid: int, camid: int | None) -> Tensor:
    """Rank the gallery for one query, and return the ranks of the query's matches.

    Junk is removed first: gallery images with a negative pid, and those with both the pid and the camid of the query.
    The other gallery images with the query's pid are the query's matches. Images at equal distances rank in gallery
    order.

    Args:
        distances: floating (G,), from the query to each gallery image.
        pids: int64 (G,), pids of the gallery.
        camids: int64 (G,), camids of the gallery.
        pid: pid of the query.
        camid: camid of the query; None to ignore cameras. Published scores do not ignore them.

    Returns:
        int64 (M,), ascending: the rank of each match, from 1. Empty for a query without a match; all scores
        skip such a query.
    """
    nearest_first = distances.argsort(stable=True)
    junk = pids < 0
    if camid is not None:
        junk |= (pids == pid) & (camids == camid)
    ranking = nearest_first[~junk[nearest_first]]
    return 1 + (pids[ranking] == pid).nonzero()[:, 0]


def average_precision(ranks: Tensor) -> float:
    """Return the average precision (AP) of one query, in [0, 1]: the mean of the precisions at its matches.

    If the n-th match has rank r, then n of the r nearest images are matches: the precision is n / r. The published
    tables use this AP, which is called step AP. The Market-1501 authors' code uses the trapezoid rule instead; its mAP
    differs by up to one percentage point.

    Args:
        ranks: int64 (M,) from `match_ranks`; not empty.
    """
    nth = torch.arange(1, len(ranks) + 1, dtype=torch.float64)
    return float((nth / ranks).mean())


def inverse_negative_penalty(ranks: Tensor) -> float:
    """Return the inverse negative penalty (INP) of one query, in (0, 1]: how early its hardest match is found.

    The hardest match is the furthest one. If a query has M matches, and the hardest one has rank R, then the user sees
    R images to find all matches. INP is M / R; it is 1 if no other image is nearer than the hardest match.

    Args:
        ranks: int64 (M,) from `match_ranks`; not empty.
    """
    return len(ranks) / int(ranks[-1])


def cmc(rankings: Sequence[Tensor], k: int) -> float:
    """Return the fraction of the queries, in [0, 1], whose nearest match has rank ``k`` or better.

    Args:
        rankings: for each query, the ranks of its matches from `match_ranks`; at least one query, each with a match.
        k: a rank, from 1.
    """
    return fmean(float(ranks[0] <= k) for ranks in rankings)


def mean_average_precision(rankings: Sequence[Tensor]) -> float:
    """Return the mean of the average precisions of the queries, in [0, 1].

    Args:
        rankings: for each query, the ranks of its matches from `match_ranks`; at least one query, each with a match.
    """
    return fmean(average_precision(ranks) for ranks in rankings)


def mean_inverse_negative_penalty(rankings: Sequence[Tensor]) -> float:
    """Return the mean of the inverse negative penalties (mINP) of the queries, in (0, 1].

    Args:
        rankings: for each query, the ranks of its matches from `match_ranks`; at least one query, each with a match.
    """
    return fmean(inverse_negative_penalty(ranks) for ranks in rankings)
