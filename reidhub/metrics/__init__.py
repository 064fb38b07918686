"""Computes the scores of a retrieval, such as CMC and mAP, and thresholds for the distance of two images.

This package needs torch. It works without checkpoints and datasets.
"""

from reidhub.metrics.evaluation import CMC_RANKS, Evaluation, evaluate
from reidhub.metrics.thresholds import OperatingPoint, Thresholds, find_thresholds

__all__ = ["CMC_RANKS", "Evaluation", "OperatingPoint", "Thresholds", "evaluate", "find_thresholds"]
