"""What a run would do, found out without fetching, decoding or computing anything."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reidhub.cache.store import Cache
from reidhub.datasets import ClassificationSet, RetrievalSet, expected_folder, read_dataset
from reidhub.errors import DatasetError
from reidhub.verification.plan import Job, Plan
from reidhub.verification.verdicts import why_never_scored


@dataclass(frozen=True, slots=True)
class Share:
    """A dataset as a run would read it.

    Args:
        name: key of the dataset registry.
        images: to be decoded; 0 where it is missing.
        size: bytes of their files.
        missing: why it cannot be read; None where it can.
        expected: the folder that is looked for below the data root, in words.
    """

    name: str
    images: int
    size: int
    missing: str | None
    expected: str


@dataclass(frozen=True, slots=True)
class Prospect:
    """One job as a run would find it.

    Args:
        job: what was asked for.
        share: the dataset.
        cached: True where the file of the checkpoint need not be fetched.
        refused: why it would not be measured, whatever is there; None where it would.
    """

    job: Job
    share: Share
    cached: bool
    refused: str | None

    @property
    def runs(self) -> bool:
        """True where the job would run, once the file of the checkpoint is there."""
        return self.refused is None and self.share.missing is None


def rehearse(plan: Plan, data_root: Path, cache: Cache, *, allow_partial: bool = False) -> list[Prospect]:
    """Look what is there for each job of a plan.

    Args:
        plan: what would be measured.
        data_root: folder that datasets lie below.
        cache: where files of checkpoints would be found.
        allow_partial: take copies that differ from the published counts.
    """
    shares = {name: _share(name, data_root, allow_partial=allow_partial) for name in plan.datasets}
    cached = {c.name: cache.find(c.artifact) is not None for c in plan.checkpoints}
    return [
        Prospect(job, shares[job.dataset], cached[job.checkpoint.name], why_never_scored(job.checkpoint, job.dataset))
        for job in plan.jobs
    ]


def _share(name: str, data_root: Path, *, allow_partial: bool) -> Share:
    expected = expected_folder(name)
    try:
        images = list(_images(read_dataset(name, data_root, allow_partial=allow_partial)))
    except DatasetError as error:
        return Share(name, 0, 0, error.message, expected)
    return Share(name, len(images), sum(path.stat().st_size for path in images), None, expected)


def _images(data: RetrievalSet | ClassificationSet) -> Iterable[Path]:
    records = data.images if isinstance(data, ClassificationSet) else (*data.query, *data.gallery)
    return (record.path for record in records)
