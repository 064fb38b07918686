"""Scores of a retrieval: distances, ranks, CMC and mAP, re-ranking.

Importing this needs torch; nothing here knows of checkpoints or datasets.
"""

from reidhub.metrics.evaluation import CMC_RANKS, Evaluation, evaluate

__all__ = ["CMC_RANKS", "Evaluation", "evaluate"]
