"""A preview of a run: what would be measured and what is missing. Nothing is downloaded, decoded or computed."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reidhub.cache.store import Cache
from reidhub.datasets import ClassificationSet, RetrievalSet, describe_folder, read_dataset
from reidhub.errors import DatasetError
from reidhub.verification.plan import Job, Plan
from reidhub.verification.verdicts import why_never_scored
from reidhub.zoo.checkpoint import OwnCheckpoint


@dataclass(frozen=True, slots=True)
class DatasetPreview:
    """A preview of one dataset: whether it can be read, and its size.

    Args:
        name: key of the dataset registry.
        images: number of images that would be decoded; 0 if the dataset is missing.
        size: bytes of the image files.
        missing: why the dataset cannot be read; None if it can.
        expected: a description of the folder that the data root must contain; None if the dataset has no reader.
    """

    name: str
    images: int
    size: int
    missing: str | None
    expected: str | None


@dataclass(frozen=True, slots=True)
class JobPreview:
    """A preview of one job: whether a run could measure it.

    Args:
        job: the checkpoint and the dataset.
        dataset: the preview of the job's dataset.
        cached: True if the file of the checkpoint is on this machine, so that no download is needed.
        refused: why this checkpoint must not be measured on this dataset; None if it may be.
    """

    job: Job
    dataset: DatasetPreview
    cached: bool
    refused: str | None

    @property
    def runs(self) -> bool:
        """True if a run could measure the job. The checkpoint file may be missing: a run would download it."""
        return self.refused is None and self.dataset.missing is None


def preview_plan(plan: Plan, data_root: Path, cache: Cache, *, allow_partial: bool = False) -> list[JobPreview]:
    """Look for the dataset and the checkpoint file of each job, and return one preview for each job.

    Args:
        plan: what would be measured.
        data_root: the folder that contains the datasets.
        cache: the cache in which the checkpoint files are looked for.
        allow_partial: accept copies of datasets whose number of images differs from the published one.
    """
    datasets = {name: _preview_dataset(name, data_root, allow_partial=allow_partial) for name in plan.datasets}
    cached = {c.name: isinstance(c, OwnCheckpoint) or cache.find(c.artifact) is not None for c in plan.checkpoints}
    return [
        JobPreview(
            job, datasets[job.dataset], cached[job.checkpoint.name], why_never_scored(job.checkpoint, job.dataset)
        )
        for job in plan.jobs
    ]


def _preview_dataset(name: str, data_root: Path, *, allow_partial: bool) -> DatasetPreview:
    expected = None
    try:
        expected = describe_folder(name)
        images = list(_list_images(read_dataset(name, data_root, allow_partial=allow_partial)))
    except DatasetError as error:
        return DatasetPreview(name, 0, 0, error.message, expected)
    return DatasetPreview(name, len(images), sum(path.stat().st_size for path in images), None, expected)


def _list_images(data: RetrievalSet | ClassificationSet) -> Iterable[Path]:
    records = data.images if isinstance(data, ClassificationSet) else (*data.query, *data.gallery)
    return (record.path for record in records)
