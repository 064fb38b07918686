"""Checks of checkpoints without a dataset.

The bytes of the file must be intact, and the weights must load. The cost of the model must equal the cost that its
authors published. The cost is two numbers: the parameters, and the multiply-adds for one image.
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
from reidhub.verification.movable_embedder import read_model
from reidhub.verification.plan import Selection
from reidhub.verification.prepare import hash_file
from reidhub.verification.results import CheckpointFile
from reidhub.zoo.checkpoint import Checkpoint

Level = Literal["files", "weights"]
FileState = Literal["intact", "loads", "as reported", "deviates", "not run"]


@dataclass(frozen=True, slots=True)
class FileCheck:
    """The result of the check of one checkpoint.

    Args:
        checkpoint: the manifest's entry.
        by_name: True if the user named the checkpoint or its model; False if a glob or ``--all`` selected it.
        state: the result, one of these values:

            - ``intact``: the bytes are intact; nothing else was checked.
            - ``loads``: the weights also load; the authors published no cost (parameters and multiply-adds).
            - ``as reported``: the weights also load, and the cost equals the published one.
            - ``deviates``: the weights also load, but the cost differs from the published one.
            - ``not run``: the check was not possible.
        reason: why the check was not possible; None otherwise.
        hint: what the user can do if the check was not possible; None if there is no advice.
        file: the checked file; None if the check was not possible.
        params_m: parameters that an embedding uses, in millions; None if the weights were not loaded.
        gflops: multiply-adds for one image, in units of 10^9; None if the weights were not loaded.
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
    """Check the files of some checkpoints, and with ``level="weights"`` also their weights and costs.

    Args:
        selection: the checkpoints.
        level: ``files`` to check only the sha256; ``weights`` to also load the weights and check the cost.
        cache: where the checkpoint files are kept; a missing file is downloaded.

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
    """Return True if the command must fail.

    It fails if the parameters or multiply-adds of a checkpoint differ from the published ones. It also fails if a
    checkpoint that the user named could not be checked.

    Args:
        checks: all checks of a run.
        strict: True to fail for every checkpoint that could not be checked, even if the user did not name it.
    """
    return any(c.state == "deviates" or (c.state == "not run" and (strict or c.by_name)) for c in checks)


def _check_cost(checkpoint: Checkpoint, path: Path, file: CheckpointFile, *, by_name: bool) -> FileCheck:
    """Load the weights, count parameters and multiply-adds, and compare both with the published numbers."""
    cost = complexity(read_model(checkpoint, path), (checkpoint.input.height, checkpoint.input.width))
    params, multiply_adds = Decimal(cost.params_by_calls) / 10**6, Decimal(cost.multiply_adds) / 10**9
    printed = [(checkpoint.params_m, params), (checkpoint.gflops, multiply_adds)]
    fits = [_round_like(value, figure) == Decimal(figure) for figure, value in printed if figure is not None]
    state: FileState = "loads" if not fits else "as reported" if all(fits) else "deviates"
    return FileCheck(checkpoint, by_name, state, file=file, params_m=float(params), gflops=float(multiply_adds))


def _round_like(value: Decimal, figure: str) -> Decimal:
    """Round a value to as many decimal places as a published number has, such as two for "2.18"."""
    return value.quantize(Decimal(figure), rounding=ROUND_HALF_EVEN)
