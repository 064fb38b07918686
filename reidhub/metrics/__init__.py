"""Scores of a retrieval: distances, ranks, CMC and mAP, re-ranking.

Importing this needs torch; nothing here knows of checkpoints or datasets.
"""

from reidhub.metrics.evaluation import RANKS, Evaluation, evaluate

__all__ = ["RANKS", "Evaluation", "evaluate"]
