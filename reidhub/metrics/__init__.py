"""Computes the scores of a retrieval, CMC and mAP, with or without re-ranking.

This package needs torch. It works without checkpoints and datasets.
"""

from reidhub.metrics.evaluation import CMC_RANKS, Evaluation, evaluate

__all__ = ["CMC_RANKS", "Evaluation", "evaluate"]
