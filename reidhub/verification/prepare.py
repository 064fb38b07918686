"""From jobs to tasks that can be measured: the dataset is read, the file of the checkpoint is there."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from reidhub.cache.store import Cache
from reidhub.datasets import ClassificationSet, RetrievalSet, read_dataset
from reidhub.download.fetch import Resolver
from reidhub.errors import IntegrityError, ReidhubError
from reidhub.files.digest import Digest
from reidhub.inference.preprocess import PixelSpec, imagenet_spec
from reidhub.verification.plan import Job
from reidhub.verification.results import CheckpointFile, DatasetCopy
from reidhub.verification.settings import Settings
from reidhub.verification.verdicts import why_never_scored
from reidhub.zoo.checkpoint import Checkpoint

Data = RetrievalSet | ClassificationSet
T = TypeVar("T")


class NeverScoredError(ReidhubError):
    """A checkpoint must not be scored on a dataset, whatever is on this machine."""


@dataclass(frozen=True, slots=True)
class Task:
    """A job that can be measured.

    Args:
        job: what was asked for.
        data: the dataset, read.
        path: the file of the checkpoint.
        file: what is known of that file.
    """

    job: Job
    data: Data
    path: Path
    file: CheckpointFile

    @property
    def classify(self) -> bool:
        """True where classes are scored rather than a retrieval."""
        return isinstance(self.data, ClassificationSet)

    @property
    def pixels(self) -> PixelSpec:
        """The preprocessing that the figures were measured with."""
        spec = self.job.checkpoint.input
        return imagenet_spec(spec) if self.classify else spec

    @property
    def images(self) -> list[Path]:
        """In the order of the rows: query, then gallery."""
        if isinstance(self.data, ClassificationSet):
            return [image.path for image in self.data.images]
        return [record.path for record in (*self.data.query, *self.data.gallery)]

    @property
    def copy(self) -> DatasetCopy:
        """What is known of the dataset."""
        return copy_of(self.data)


def copy_of(data: Data) -> DatasetCopy:
    """What is known of a dataset that was read."""
    if isinstance(data, ClassificationSet):
        version, images = None, {"val": len(data.images)}
    else:
        version, images = data.version, {"query": len(data.query), "gallery": len(data.gallery)}
    return DatasetCopy(data.name, data.title, version, data.fingerprint, data.partial, images)


class Preparation:
    """Reads each dataset and fetches each file once, and remembers what went wrong with it.

    Args:
        settings: where datasets lie, and whether partial copies will do.
        cache: where files are kept.
    """

    def __init__(self, settings: Settings, cache: Cache) -> None:
        self._settings = settings
        self._cache = cache
        self._resolver = Resolver(cache)
        self._data = _Once(self._read)
        self._files = _Once(self._fetch)

    def task(self, job: Job) -> Task:
        """Make a job ready.

        Raises:
            NeverScoredError: the checkpoint must not be scored on the dataset.
            DatasetError: the dataset is missing or not as it should be.
            FetchError: no source gave the file.
        """
        if reason := why_never_scored(job.checkpoint, job.dataset):
            raise NeverScoredError(reason)
        data = self._data(job.dataset, job.dataset)
        if isinstance(data, ClassificationSet) and job.dataset not in job.checkpoint.trained_on:
            raise NeverScoredError(f"its classifier knows the classes of another dataset than {job.dataset}")
        path, file = self._files(job.checkpoint.name, job.checkpoint)
        return Task(job, data, path, file)

    def _read(self, name: str) -> Data:
        return read_dataset(name, self._settings.data_root, allow_partial=self._settings.allow_partial)

    def _fetch(self, checkpoint: Checkpoint) -> tuple[Path, CheckpointFile]:
        return hashed(self._resolver.fetch(checkpoint), checkpoint, self._cache)


def hashed(path: Path, checkpoint: Checkpoint, cache: Cache) -> tuple[Path, CheckpointFile]:
    """The file of a checkpoint, every byte of it read and hashed now.

    Raises:
        IntegrityError: the cache does not hold what it was given.
    """
    digest, expected = Digest.of_file(path), checkpoint.artifact.digest or cache.read_pin(checkpoint.artifact)
    if digest != expected:
        raise IntegrityError(f"{path}: expected sha256 {expected}, got {digest}", hint="remove the file and try again")
    return path, CheckpointFile(digest.hex, path.stat().st_size, checkpoint.artifact.held_to)


A = TypeVar("A")


class _Once(Generic[A, T]):
    """A function whose result, or error, is remembered under a key."""

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
