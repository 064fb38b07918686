"""How the commands describe a checkpoint: its published scores, and whether its file is in the cache."""

from typing import Any

from reidhub.cache.store import Cache
from reidhub.errors import CacheError
from reidhub.zoo.checkpoint import Checkpoint, Score
from reidhub.zoo.describe import make_json as make_zoo_json
from reidhub.zoo.describe import name_metric


def format_score(score: Score) -> str:
    """Format a published score for a table.

    ``market1501 94.2 (82.6)`` is rank-1, with mAP in parentheses. Other figures have their name: ``top-1 75.5``.
    """
    values = score.values
    if "rank1" in values:
        return f"{score.dataset} {values['rank1']}" + (f" ({values['mAP']})" if "mAP" in values else "")
    named = ", ".join(f"{name_metric(metric)} {value}" for metric, value in values.items())
    return named if "top1" in values else f"{score.dataset} {named}"


def is_cached(checkpoint: Checkpoint) -> bool:
    """Return True if the checkpoint's file is in the cache; its bytes are not checked."""
    try:
        return Cache().has(checkpoint.artifact)
    except CacheError:  # this user has no home folder
        return False


def make_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return everything known about a checkpoint as data for JSON, and whether its file is in the cache."""
    return {**make_zoo_json(checkpoint), "cached": is_cached(checkpoint)}
