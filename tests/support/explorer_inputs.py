"""Makes receipts, lists of links and small zoos for tests of the explorer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from reidhub.site.content import Content
from reidhub.verification.measurement import Measurement
from reidhub.verification.plan import Job
from reidhub.verification.receipt import write_receipt
from reidhub.verification.results import (
    CheckpointFile,
    DatasetCopy,
    Environment,
    Figure,
    Measured,
    NotMeasured,
    Report,
    Timing,
)
from reidhub.verification.verdicts import combine_verdicts, judge
from reidhub.zoo.checkpoint import Checkpoint, Score
from support.reports import CONDITIONS

PINNED, UNPINNED = "osnet_x1_0.market1501", "fastreid_agw_r50.market1501"
"""Two checkpoints that have results in the receipts of the site that the tests share."""
UNTOUCHED = "osnet_x0_25.market1501"
"""A checkpoint without results."""


@dataclass(frozen=True)
class Site:
    """A written site and what it shows."""

    folder: Path
    content: Content

    @property
    def index(self) -> Path:
        return self.folder / "index.html"

    def page(self, name: str) -> Path:
        return self.folder / "checkpoints" / f"{name}.html"


_COUNTS = Measurement(
    first_match_rank=(1, 2),
    average_precision=(1.0, 0.5),
    inverse_negative_penalty=(1.0, 0.5),
    queries=2,
    hits=(1, 2),
    mAP=0.75,
    mINP=0.75,
    dimensions=512,
)
OTHER_FILE = "b" * 64
"""The sha256 of a file that is not in the zoo."""


def measured(checkpoint: Checkpoint, dataset: str, points: str = "0", **fields: Any) -> Measured:
    """Make a result whose figures are the published ones plus some points.

    Args:
        checkpoint: the checkpoint.
        dataset: one of the datasets that it has a score on.
        points: the difference to the published figures, in percentage points.
        fields: fields of the result to replace.
    """
    (score,) = (score for score in checkpoint.scores if score.dataset == dataset)
    figures = tuple(_make_figure(score, metric, Decimal(points)) for metric in score.values)
    digest = checkpoint.artifact.digest
    result = Measured(
        job=Job(checkpoint, dataset, score, by_name=True),
        verdict=combine_verdicts(figure.verdict for figure in figures),
        reason=None,
        figures=figures,
        file=CheckpointFile(digest.hex if digest else OTHER_FILE, 1234, "sha256"),
        copy=DatasetCopy(dataset, dataset.title(), None, "f" * 64, None, {"query": 2, "gallery": 4}),
        conditions=replace(CONDITIONS, device_name="a processor"),
        measurement=_COUNTS,
        embeddings_key="key",
        timing=Timing(1.0, 6, 1, 0.1),
    )
    return replace(result, **fields)


def _make_figure(score: Score, metric: str, points: Decimal) -> Figure:
    value = score.decimal(metric) + points
    return Figure(metric, score.values[metric], float(value), None, judge(score, metric, Fraction(value)))


def not_comparable(result: Measured) -> Measured:
    """Return the same result, measured on a partial copy."""
    figures = tuple(replace(figure, verdict="not comparable") for figure in result.figures)
    return replace(result, verdict="not comparable", reason="partial copy: 1 of 2 images", figures=figures)


def write_receipt_of(path: Path, results: Sequence[Measured | NotMeasured]) -> Path:
    """Write a receipt with these results, and return its path."""
    write_receipt(Report(tuple(results), Environment({"reidhub": "0.1"}, "Linux", ("cpu",))), path)
    return path


def write_links(path: Path, checkpoints: Sequence[Checkpoint], **fields: Any) -> Path:
    """Write what ``reidhub links --json`` prints; ``fields`` replace fields of each source."""
    entries = [
        {
            "name": checkpoint.name,
            "alive": True,
            "size": checkpoint.artifact.size,
            "sources": [
                {
                    "kind": source.kind,
                    "location": source.location,
                    "host": "example.org",
                    "alive": True,
                    "size": None,
                    "reason": None,
                    "permanent": False,
                    "checked": "2026-11-27T18:00:00Z",
                    **fields,
                }
                for source in checkpoint.artifact.sources
            ],
        }
        for checkpoint in checkpoints
    ]
    path.write_text(json.dumps(entries))
    return path


def change(receipt: Path, edit: Any) -> Path:
    """Edit the JSON of a receipt, and return its path."""
    content = json.loads(receipt.read_text())
    edit(content)
    receipt.write_text(json.dumps(content))
    return receipt
