"""Choose and sort checkpoints, for the options of ``reidhub list``."""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from reidhub.cli.describe import is_cached
from reidhub.errors import UsageError
from reidhub.zoo.checkpoint import METRICS, Checkpoint
from reidhub.zoo.describe import find_params_m
from reidhub.zoo.manifest import zoo

ORDERS = (*METRICS, "params", "size", "name")
"""The orders in which `sort_checkpoints` can sort."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions for checkpoints. A checkpoint must meet all of them; an empty condition is always met.

    Args:
        models: names of architectures.
        trained_on: names of datasets; the checkpoint was trained on one of them, alone or with others.
        tested_on: names of datasets; the checkpoint has a score on one of them.
        cached: True if its file must be in the cache.
        max_params_m: the largest number of parameters, in millions.
    """

    models: Collection[str]
    trained_on: Collection[str]
    tested_on: Collection[str]
    cached: bool
    max_params_m: float | None

    def apply(self, checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
        """Return the checkpoints that meet the conditions; with ``tested_on``, they keep only these scores.

        Raises:
            UsageError: no checkpoint of the zoo has one of these models or datasets.
        """
        everything = zoo().checkpoints
        _check_known("model", self.models, {c.model for c in everything})
        _check_known("training dataset", self.trained_on, {name for c in everything for name in c.trained_on})
        _check_known("dataset", self.tested_on, {score.dataset for c in everything for score in c.scores})
        return [self._select_scores(checkpoint) for checkpoint in checkpoints if self._accepts(checkpoint)]

    def _accepts(self, checkpoint: Checkpoint) -> bool:
        params_m = find_params_m(checkpoint)
        return (
            (not self.models or checkpoint.model in self.models)
            and (not self.trained_on or not set(self.trained_on).isdisjoint(checkpoint.trained_on))
            and (not self.tested_on or any(score.dataset in self.tested_on for score in checkpoint.scores))
            and (self.max_params_m is None or (params_m is not None and float(params_m) <= self.max_params_m))
            and (not self.cached or is_cached(checkpoint))
        )

    def _select_scores(self, checkpoint: Checkpoint) -> Checkpoint:
        if not self.tested_on:
            return checkpoint
        return replace(checkpoint, scores=tuple(s for s in checkpoint.scores if s.dataset in self.tested_on))


def sort_checkpoints(checkpoints: Iterable[Checkpoint], order: str) -> list[Checkpoint]:
    """Sort checkpoints by one of `ORDERS`: scores from the best, the rest from the smallest, unknown values last.

    The score of a checkpoint with several scores is its best one.
    """
    if order == "name":
        return sorted(checkpoints, key=lambda checkpoint: checkpoint.name)

    def find_key(checkpoint: Checkpoint) -> tuple[bool, Decimal]:
        if order == "params":
            value = find_params_m(checkpoint)
        elif order == "size":
            value = None if checkpoint.artifact.size is None else str(checkpoint.artifact.size)
        else:
            scores = [score.decimal(order) for score in checkpoint.scores if order in score.values]
            value = str(-max(scores)) if scores else None
        return value is None, Decimal(value or 0)

    return sorted(checkpoints, key=find_key)


def _check_known(what: str, wanted: Iterable[str], known: Collection[str]) -> None:
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(known))}"
            raise UsageError(f"no {what} of the zoo is called {name!r}", hint=hint)
