"""Finds the results of checkpoints in receipts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reidhub.errors import UsageError
from reidhub.files.sniff import make_printable
from reidhub.verification.receipt_results import ReceiptResult, read_results
from reidhub.verification.results import Verdict
from reidhub.verification.verdicts import combine_verdicts
from reidhub.zoo.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class Measurement:
    """A result of a receipt that belongs to a checkpoint.

    Args:
        result: the result.
        matched_by: ``sha256`` if the measured file has the sha256 of the checkpoint, else ``name``.
    """

    result: ReceiptResult
    matched_by: Literal["sha256", "name"]


def read_measurements(
    receipts: Iterable[Path], checkpoints: Sequence[Checkpoint]
) -> tuple[dict[str, list[Measurement]], list[str]]:
    """Read the results of the checkpoints from receipts.

    Returns:
        Name of a checkpoint -> its results, in the order of the receipts; and notes about results that belong to no
        checkpoint.

    Raises:
        UsageError: a receipt cannot be read, or has no result of any of the checkpoints.
    """
    found: dict[str, list[Measurement]] = {}
    notes = []
    for receipt in receipts:
        results = read_results(receipt)
        unknown = [result for result in results if not _add(found, result, checkpoints)]
        if len(unknown) == len(results):
            names = ", ".join(dict.fromkeys(make_printable(result.checkpoint) for result in results))
            raise UsageError(
                f"the receipt {receipt} has no result of a checkpoint of the zoo", hint=f"it has: {names or 'nothing'}"
            )
        if unknown:
            notes.append(f"{receipt}: {len(unknown)} of {len(results)} results belong to no checkpoint of the zoo")
    return found, notes


def _add(found: dict[str, list[Measurement]], result: ReceiptResult, checkpoints: Sequence[Checkpoint]) -> bool:
    """Add a result to the lists of its checkpoints; return False if it has none."""
    added = False
    for checkpoint in checkpoints:
        if (matched_by := _match(result, checkpoint)) is None:
            continue
        added = True
        own = found.setdefault(checkpoint.name, [])
        if (measurement := Measurement(result, matched_by)) not in own:  # the same receipt may be given twice
            own.append(measurement)
    return added


def _match(result: ReceiptResult, checkpoint: Checkpoint) -> Literal["sha256", "name"] | None:
    """Return by what a result belongs to a checkpoint; None if it does not belong to it.

    If both have a sha256, only the sha256 counts: a file of the same name can be another file.
    """
    if result.file and checkpoint.artifact.digest:
        return "sha256" if result.file.sha256 == checkpoint.artifact.digest.hex else None
    return "name" if result.checkpoint == checkpoint.name else None


def choose_verdict(measurements: Iterable[Measurement], dataset: str) -> Verdict | None:
    """Return the verdict to show for a checkpoint on a dataset; None if there is no result.

    If there are comparable results, only these count. If several results count, the worst verdict is returned.
    """
    verdicts = {one.result.verdict for one in measurements if one.result.dataset == dataset}
    comparable = verdicts - {"not comparable", "not run"}
    if comparable or not verdicts:
        return combine_verdicts(comparable) if comparable else None
    return "not comparable" if "not comparable" in verdicts else "not run"
