"""Checkpoints looked at without a dataset: are the bytes intact, do the weights load, do they cost what is printed."""

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Literal

from reidhub.cache.store import Cache
from reidhub.download.fetch import Resolver
from reidhub.errors import DiskFullError, ReidhubError
from reidhub.inference.complexity import complexity
from reidhub.verification.dataset_pass import read_model
from reidhub.verification.plan import Selection
from reidhub.verification.prepare import hashed
from reidhub.verification.results import CheckpointFile, Inspection, Soundness
from reidhub.zoo.checkpoint import Checkpoint

Level = Literal["files", "weights"]


def inspect(selection: Selection, level: Level, cache: Cache) -> Iterator[Inspection]:
    """Look at some checkpoints.

    Args:
        selection: which.
        level: ``files`` for the bytes, ``weights`` to load them too.
        cache: where files are kept; what is missing is fetched.

    Yields:
        One inspection for each, as soon as it is done.

    Raises:
        DiskFullError: the cache has no room for a file.
    """
    resolver = Resolver(cache)
    for checkpoint in selection.checkpoints:
        by_name = checkpoint.name in selection.by_name
        try:
            path, file = hashed(resolver.fetch(checkpoint), checkpoint, cache)
            if level == "files":
                yield Inspection(checkpoint, by_name, "intact", file=file)
            else:
                yield _weigh(checkpoint, path, file, by_name=by_name)
        except DiskFullError:
            raise
        except ReidhubError as error:
            yield Inspection(checkpoint, by_name, "not run", error.message, error.hint)


def failed(inspections: list[Inspection], *, strict: bool = False) -> bool:
    """True where a cost deviates, or one that was asked for by exact name (``strict``: any) did not run."""
    return any(i.state == "deviates" or (i.state == "not run" and (strict or i.by_name)) for i in inspections)


def _weigh(checkpoint: Checkpoint, path: Path, file: CheckpointFile, *, by_name: bool) -> Inspection:
    """Load the weights and count what an embedding costs, by the definition of the printed figures."""
    cost = complexity(read_model(checkpoint, path), (checkpoint.input.height, checkpoint.input.width))
    params, multiply_adds = Decimal(cost.params_by_calls) / 10**6, Decimal(cost.multiply_adds) / 10**9
    printed = [(checkpoint.params_m, params), (checkpoint.gflops, multiply_adds)]
    fits = [_rounded(value, figure) == Decimal(figure) for figure, value in printed if figure is not None]
    state: Soundness = "loads" if not fits else "as printed" if all(fits) else "deviates"
    return Inspection(checkpoint, by_name, state, file=file, params_m=float(params), gflops=float(multiply_adds))


def _rounded(value: Decimal, figure: str) -> Decimal:
    """With as many digits as ``figure``."""
    return value.quantize(Decimal(figure), rounding=ROUND_HALF_EVEN)
