"""Reads the results of a receipt for people: figures, verdicts and conditions, without the results of single queries.

A receipt may come from others, so nothing in it is trusted: types, ranges and the length of every text are checked.
"""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from reidhub.errors import UsageError
from reidhub.files.strict_json import read_value
from reidhub.verification.receipt_reader import parse_receipt
from reidhub.verification.results import CheckpointFile, DatasetCopy, Verdict
from reidhub.zoo.checkpoint import METRICS

_LONGEST_TEXT = 4000  # characters; a reason that names every source of a file has less than 1000
_HINT = "run `reidhub verify --receipt` again, with this version of reidhub"


@dataclass(frozen=True, slots=True)
class ReceiptFigure:
    """A figure of a receipt; see `reidhub.verification.results.Figure`."""

    metric: str
    reported: str | None
    measured: float | None
    hits: int | None
    verdict: Verdict | None
    confirmed_by: tuple[str, ...]
    deviation: float | None


@dataclass(frozen=True, slots=True)
class ReceiptConditions:
    """The conditions of a result of a receipt; see `reidhub.verification.results.Conditions`."""

    device: str
    device_name: str
    threads: int
    engine: str
    precision: str
    batch_size: int
    pixels: str
    distance: str | None
    normalize: bool
    rerank: bool
    cameras: Literal["use", "ignore"] | None


@dataclass(frozen=True, slots=True)
class ReceiptCounts:
    """The counts of a result of a receipt; see `reidhub.verification.measurement.Measurement`."""

    queries: int
    skipped: int
    hits: tuple[int, ...]
    cmc: tuple[float, ...]
    mAP: float | None
    mINP: float | None
    dimensions: int
    per_query_sha256: str


@dataclass(frozen=True, slots=True)
class ReceiptResult:
    """The result of one checkpoint on one dataset in a receipt.

    Args:
        checkpoint: name of the checkpoint.
        dataset: key of the dataset registry, or ``own images``.
        verdict: verdict on all metrics together.
        reason: why the scores are not comparable or not measured, or who else measured the same; None otherwise.
        figures: one for each metric.
        source: where the compared scores were published; None if there are none.
        file: the file that was measured; None if it was not fetched.
        notices: notices of the checkpoint.
        copy: the copy of the dataset; None if it was not read.
        conditions: how the checkpoint was measured; None if it was not.
        counts: numbers of queries and hits; None if nothing was measured.
    """

    checkpoint: str
    dataset: str
    verdict: Verdict
    reason: str | None
    figures: tuple[ReceiptFigure, ...]
    source: str | None
    file: CheckpointFile | None
    notices: tuple[str, ...]
    copy: DatasetCopy | None
    conditions: ReceiptConditions | None
    counts: ReceiptCounts | None


def read_results(path: Path) -> tuple[ReceiptResult, ...]:
    """Read all results of a receipt, in its order.

    Raises:
        UsageError: the file cannot be read, is no receipt, was made by another version, or is damaged.
    """
    receipt = parse_receipt(path)
    try:
        results = read_value(tuple[ReceiptResult, ...], receipt.get("results"))
        _check_texts(receipt["results"])
        for result in results:
            _check(result)
    except ValueError as error:
        raise UsageError(f"{path} is a damaged receipt: results: {error}", hint=_HINT) from None
    return results


def _check_texts(data: Any) -> None:
    """Raise ValueError if a text anywhere in parsed JSON is too long."""
    if isinstance(data, str) and len(data) > _LONGEST_TEXT:
        raise ValueError(f"a text has more than {_LONGEST_TEXT} characters")
    if isinstance(data, dict):
        data = [*data, *data.values()]
    if isinstance(data, list):
        for item in data:
            _check_texts(item)


def _check(result: ReceiptResult) -> None:
    """Raise ValueError if a number of a result makes no sense."""
    for figure in result.figures:
        if figure.metric not in METRICS:
            raise ValueError(f"unknown metric {figure.metric[:50]!r}")
        if figure.measured is not None and not 0 <= figure.measured <= 100:
            raise ValueError(f"{figure.metric} is not between 0 and 100")
        if figure.measured is not None and figure.verdict == "not run":
            raise ValueError(f"{figure.metric} is measured, but its verdict is 'not run'")
        if figure.deviation is not None and not abs(figure.deviation) <= 100:
            raise ValueError(f"the deviation of {figure.metric} is more than 100 points")
        if figure.reported is not None and not _is_percentage(figure.reported):
            raise ValueError(f"the reported {figure.metric} is not a percentage: {figure.reported[:50]!r}")
        if figure.hits is not None and (result.counts is None or not 0 <= figure.hits <= result.counts.queries):
            raise ValueError(f"{figure.metric} has more hits than queries")
    if any(figure.measured is not None for figure in result.figures) and not (result.file and result.conditions):
        raise ValueError(f"{result.checkpoint[:50]!r} is measured, but its file or conditions are missing")


def _is_percentage(text: str) -> bool:
    try:
        return 0 <= Decimal(text) <= 100
    except InvalidOperation:
        return False
