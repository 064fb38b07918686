"""Checks of checkpoints without a dataset.

The bytes must be intact, the weights must load, and the cost of an embedding must be the printed one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Literal

from reidhub.cache.store import Cache
from reidhub.download.fetch import Fetcher
from reidhub.errors import DiskFullError, ReidhubError
from reidhub.inference.complexity import complexity
from reidhub.verification.dataset_pass import read_model
from reidhub.verification.plan import Selection
from reidhub.verification.prepare import hash_file
from reidhub.verification.results import CheckpointFile
from reidhub.zoo.checkpoint import Checkpoint

Level = Literal["files", "weights"]
FileState = Literal["intact", "loads", "as printed", "deviates", "not run"]


@dataclass(frozen=True, slots=True)
class FileCheck:
    """The check of one checkpoint.

    Args:
        checkpoint: the manifest's entry.
        by_name: True where it was asked for by its exact name.
        state: ``intact``: the bytes are. ``loads``: the weights do, and no cost is printed. ``as printed`` and
            ``deviates``: the weights load, and the cost is the printed one or another one. ``not run``: the check was
            not possible.
        reason: why it was not possible; None otherwise.
        hint: what the user can do about the reason.
        file: the file; None where it could not be fetched.
        params_m: parameters of an embedding in millions; None where the weights were not loaded.
        gflops: multiply-adds of one image in 10^9; None where the weights were not loaded.
    """

    checkpoint: Checkpoint
    by_name: bool
    state: FileState
    reason: str | None = None
    hint: str | None = None
    file: CheckpointFile | None = None
    params_m: float | None = None
    gflops: float | None = None


def check_files(selection: Selection, level: Level, cache: Cache) -> Iterator[FileCheck]:
    """Check some checkpoints.

    Args:
        selection: the checkpoints.
        level: ``files`` to hash the bytes, ``weights`` to load the weights as well.
        cache: has the files; a missing one is downloaded.

    Yields:
        One check for each checkpoint, as soon as it is done.

    Raises:
        DiskFullError: the cache has no room for a file.
    """
    resolver = Fetcher(cache)
    for checkpoint in selection.checkpoints:
        by_name = checkpoint.name in selection.by_name
        try:
            path = resolver.fetch(checkpoint)
            file = hash_file(path, checkpoint, cache)
            if level == "files":
                yield FileCheck(checkpoint, by_name, "intact", file=file)
            else:
                yield _check_cost(checkpoint, path, file, by_name=by_name)
        except DiskFullError:
            raise
        except ReidhubError as error:
            yield FileCheck(checkpoint, by_name, "not run", error.message, error.hint)


def has_failed(checks: list[FileCheck], *, strict: bool = False) -> bool:
    """True where a cost deviates, or the check of a checkpoint that was asked for by name was not possible.

    Args:
        checks: all checks of a run.
        strict: every check that was not possible counts.
    """
    return any(c.state == "deviates" or (c.state == "not run" and (strict or c.by_name)) for c in checks)


def _check_cost(checkpoint: Checkpoint, path: Path, file: CheckpointFile, *, by_name: bool) -> FileCheck:
    """Load the weights, and count the cost of an embedding by the definition of the printed figures."""
    cost = complexity(read_model(checkpoint, path), (checkpoint.input.height, checkpoint.input.width))
    params, multiply_adds = Decimal(cost.params_by_calls) / 10**6, Decimal(cost.multiply_adds) / 10**9
    printed = [(checkpoint.params_m, params), (checkpoint.gflops, multiply_adds)]
    fits = [_round_like(value, figure) == Decimal(figure) for figure, value in printed if figure is not None]
    state: FileState = "loads" if not fits else "as printed" if all(fits) else "deviates"
    return FileCheck(checkpoint, by_name, state, file=file, params_m=float(params), gflops=float(multiply_adds))


def _round_like(value: Decimal, figure: str) -> Decimal:
    """Round a value to as many decimals as a printed figure has."""
    return value.quantize(Decimal(figure), rounding=ROUND_HALF_EVEN)
