"""The content of the site: checkpoints, their results in receipts, and the states of their sources."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from reidhub.errors import UsageError
from reidhub.site.links import LinkState, read_links
from reidhub.site.measurements import Measurement, choose_verdict, read_measurements
from reidhub.verification.results import Verdict
from reidhub.zoo.artifact import Source
from reidhub.zoo.checkpoint import Checkpoint, Score

_UNSAFE = re.compile(r"[\s\\\x00-\x1f\x7f-\x9f]")  # browsers remove such characters, or read \ as /


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: a checkpoint and a dataset that it was tested on.

    Args:
        checkpoint: the checkpoint.
        dataset: key of the dataset; None for a checkpoint without any score.
        score: the reported scores; None if there are none.
        verdict: verdict on the measured scores; None if nothing was measured.
    """

    checkpoint: Checkpoint
    dataset: str | None
    score: Score | None
    verdict: Verdict | None

    @property
    def domain(self) -> str | None:
        """``same`` if the checkpoint was trained on the dataset of the scores, else ``cross``; None without scores."""
        return self.checkpoint.find_domain(self.score) if self.score else None


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that the site shows.

    Args:
        checkpoints: the checkpoints, in the order of the table.
        measurements: name of a checkpoint -> its results in receipts.
        links: states of sources; a source that was not asked is missing.
        docs: address of the documentation, as seen from ``index.html``; None for no link.
        notes: sentences for the user about receipts that do not fit.
    """

    checkpoints: tuple[Checkpoint, ...]
    measurements: Mapping[str, Sequence[Measurement]]
    links: Mapping[Source, LinkState]
    docs: str | None
    notes: tuple[str, ...] = ()

    @classmethod
    def read(
        cls, checkpoints: Sequence[Checkpoint], receipts: Iterable[Path], links: Path | None, docs: str | None
    ) -> Self:
        """Read receipts and the list of links.

        Args:
            checkpoints: the checkpoints to show.
            receipts: receipts of ``reidhub verify`` or ``evaluate``.
            links: a file that ``reidhub links --json`` wrote.
            docs: address of the documentation, relative to ``index.html``, or with ``https:`` or ``http:``.

        Raises:
            UsageError: a file cannot be read, or has nothing about the checkpoints; or the address is unsafe.
        """
        if docs is not None:
            _check_address(docs)
        measurements, notes = read_measurements(receipts, checkpoints)
        states = read_links(links, checkpoints) if links else {}
        return cls(tuple(checkpoints), measurements, states, docs, tuple(notes))

    def find_docs(self, depth: int) -> str | None:
        """Return the address of the documentation for a page that lies ``depth`` folders below ``index.html``."""
        if self.docs is None or urlsplit(self.docs).scheme or self.docs.startswith("/"):
            return self.docs
        return "../" * depth + self.docs

    def list_rows(self) -> list[Row]:
        """Return the rows of the table: one for each checkpoint and dataset, at least one for each checkpoint."""
        return [row for checkpoint in self.checkpoints for row in self._list_rows(checkpoint)]

    def _list_rows(self, checkpoint: Checkpoint) -> list[Row]:
        measured = self.measurements.get(checkpoint.name, ())
        scores = {score.dataset: score for score in checkpoint.scores}
        datasets = [*scores, *dict.fromkeys(one.result.dataset for one in measured if one.result.dataset not in scores)]
        if not datasets:
            return [Row(checkpoint, None, None, None)]
        return [Row(checkpoint, name, scores.get(name), choose_verdict(measured, name)) for name in datasets]


def _check_address(address: str) -> None:
    """Raise UsageError unless an address is relative, or starts with ``https:`` or ``http:``."""
    parts = urlsplit(address) if address and not _UNSAFE.search(address) else None
    if parts is None or parts.scheme not in ("", "https", "http") or bool(parts.scheme) != bool(parts.netloc):
        raise UsageError(
            f"expected an address for the documentation, got {address!r}",
            hint="write a relative address such as ../index.html, or one that starts with https://",
        )
