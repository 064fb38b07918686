"""Computes the scores of a retrieval, such as CMC and mAP, and thresholds for the distance of two images.

This package needs torch. It works without checkpoints and datasets.
"""

from reidhub.metrics.bootstrap import Difference, compare_means
from reidhub.metrics.evaluation import CMC_RANKS, Evaluation, evaluate
from reidhub.metrics.thresholds import OperatingPoint, Thresholds, find_thresholds

__all__ = [
    "CMC_RANKS",
    "Difference",
    "Evaluation",
    "OperatingPoint",
    "Thresholds",
    "compare_means",
    "evaluate",
    "find_thresholds",
]
