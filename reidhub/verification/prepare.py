"""Prepares the jobs of a run: reads the datasets and downloads the files of the checkpoints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Generic, TypeVar

from reidhub.cache.store import Cache
from reidhub.datasets import ClassificationSet, RetrievalSet, read_dataset
from reidhub.download.fetch import Fetcher
from reidhub.errors import IntegrityError, ManifestError, ReidhubError
from reidhub.files.digest import Digest
from reidhub.inference.preprocess import PixelSpec, imagenet_spec
from reidhub.verification.plan import Job
from reidhub.verification.results import CheckpointFile, DatasetCopy
from reidhub.verification.settings import Settings
from reidhub.verification.verdicts import find_unfit_metrics, why_never_scored
from reidhub.zoo.checkpoint import Checkpoint

Data = RetrievalSet | ClassificationSet
A = TypeVar("A")
T = TypeVar("T")


class NeverScoredError(ReidhubError):
    """This checkpoint must not be measured on this dataset, because it was trained on the test images."""


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A job with its dataset and its checkpoint file.

    Args:
        job: the checkpoint and the dataset.
        data: the records of the dataset.
        path: the path of the checkpoint file.
        file: the digest and size of the checkpoint file.
    """

    job: Job
    data: Data
    path: Path
    file: CheckpointFile

    @property
    def is_classification(self) -> bool:
        """True for a classification, False for a retrieval."""
        return isinstance(self.data, ClassificationSet)

    @property
    def pixels(self) -> PixelSpec:
        """The image size and the normalisation that the model needs."""
        spec = self.job.checkpoint.input
        return imagenet_spec(spec) if self.is_classification else spec

    @property
    def images(self) -> list[Path]:
        """The image files in the order of their embeddings; in a retrieval, the order of `RetrievalSet.images`."""
        if isinstance(self.data, ClassificationSet):
            return [image.path for image in self.data.images]
        return self.data.images

    @property
    def copy(self) -> DatasetCopy:
        """The user's copy of the dataset: its name, version, fingerprint and numbers of images."""
        return _describe_copy(self.data)


def _describe_copy(data: Data) -> DatasetCopy:
    if isinstance(data, ClassificationSet):
        version, images = None, {"val": len(data.images)}
    elif data.leave_one_out:
        version, images = data.version, {"images": len(data.gallery)}
    else:
        version, images = data.version, {"query": len(data.query), "gallery": len(data.gallery)}
    return DatasetCopy(data.name, data.title, version, data.fingerprint, data.partial, images)


class Preparation:
    """Prepares the jobs of a run, and reads each dataset and downloads each checkpoint file only once.

    If a dataset or a file fails, all jobs that need it get the same error.

    Args:
        settings: the settings of the run.
        cache: where the checkpoint files are kept.
        given: datasets by their names that need not be read; all others are read below the data root.
    """

    def __init__(self, settings: Settings, cache: Cache, given: Mapping[str, Data] = MappingProxyType({})) -> None:
        self._settings = settings
        self._cache = cache
        self._given = given
        self._resolver = Fetcher(cache)
        self._data = _Once(self._read)
        self._files = _Once(self._fetch)

    def prepare(self, job: Job) -> PreparedJob:
        """Read the dataset of a job and download its checkpoint file.

        Raises:
            NeverScoredError: this checkpoint must not be measured on this dataset.
            DatasetError: the dataset is missing, or differs from the published one.
            ManifestError: a published score has a metric that this dataset does not have.
            FetchError: no source gave the file.
            IntegrityError: the file has changed since it was put into the cache.
        """
        if reason := why_never_scored(job.checkpoint, job.dataset):
            raise NeverScoredError(reason)
        data = self._data(job.dataset, job.dataset)
        if isinstance(data, ClassificationSet) and job.dataset not in job.checkpoint.trained_on:
            raise NeverScoredError(f"its classifier knows the classes of another dataset than {job.dataset}")
        _check_metrics(job, data)
        path, file = self._files(job.checkpoint.name, job.checkpoint)
        return PreparedJob(job, data, path, file)

    def _read(self, name: str) -> Data:
        if name in self._given:
            return self._given[name]
        return read_dataset(name, self._settings.data_root, allow_partial=self._settings.allow_partial)

    def _fetch(self, checkpoint: Checkpoint) -> tuple[Path, CheckpointFile]:
        path = self._resolver.fetch(checkpoint)
        return path, hash_file(path, checkpoint, self._cache)


def _check_metrics(job: Job, data: Data) -> None:
    """Raise ManifestError if a published score has a metric that the dataset does not have."""
    if unfit := find_unfit_metrics(job.score, classification=isinstance(data, ClassificationSet)):
        raise ManifestError(
            f"{job.checkpoint.manifest}: {job.dataset} has no metric {', '.join(unfit)}",
            hint="metrics of a classification are top1 and top5; "
            "those of a retrieval are rank1, rank5, rank10, mAP and mINP",
        )


def hash_file(path: Path, checkpoint: Checkpoint, cache: Cache) -> CheckpointFile:
    """Check the sha256 of a file in the cache, and return the sha256 and the size.

    The expected sha256 is the one in the manifest, or else the one that the cache stored at the download.

    Args:
        path: the path of the file.
        checkpoint: the checkpoint that the file belongs to.
        cache: the cache that contains the file.

    Raises:
        IntegrityError: the file has changed since it was put into the cache.
    """
    digest, expected = Digest.of_file(path), checkpoint.artifact.digest or cache.read_pin(checkpoint.artifact)
    if digest != expected:
        raise IntegrityError(f"{path}: expected sha256 {expected}, got {digest}", hint="remove the file and try again")
    return CheckpointFile(digest.hex, path.stat().st_size, checkpoint.artifact.checked_by)


class _Once(Generic[A, T]):
    """Calls a function once for each key; later calls with this key return the same result or raise the same error."""

    def __init__(self, compute: Callable[[A], T]) -> None:
        self._compute = compute
        self._known: dict[str, T | ReidhubError] = {}

    def __call__(self, key: str, argument: A) -> T:
        if key not in self._known:
            try:
                self._known[key] = self._compute(argument)
            except ReidhubError as error:
                self._known[key] = error
        known = self._known[key]
        if isinstance(known, ReidhubError):
            raise known
        return known
