"""The results of a run. Tables, JSON, receipts and reports are made from them.

A result is `Measured` or `NotMeasured`. All values except `Timing` are the same if a run is repeated
under the same conditions.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, get_args

from reidhub.verification.measurement import Measurement
from reidhub.verification.plan import Job

if TYPE_CHECKING:
    from reidhub.metrics.inputs import Cameras
    from reidhub.torch_settings import Precision

Verdict = Literal["reproduced", "close", "deviates, confirmed", "deviates", "not comparable", "not run"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""All verdicts, in the order of tables. The verdict on several scores together is the one that comes last here."""

PARTIAL_COPY = "partial copy"
"""Start of the last part of a reason. A colon and `DatasetCopy.partial` follow."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The published and the measured score of one metric.

    Args:
        metric: one of `reidhub.zoo.checkpoint.METRICS`.
        reported: the published percentage, with the digits of the publication, such as "94.2"; None if not published.
        measured: the measured percentage; None if nothing was measured.
        hits: number of correct queries. For ``rank5``, a query is correct if its nearest match has rank 5 or better;
            for ``top5``, if the right class is among the five best. None for mAP and mINP, or if nothing was measured.
        verdict: verdict on this metric alone; None if no score is published.
        confirmed_by: who else measured the same, if the measured score deviates from the published one.
    """

    metric: str
    reported: str | None
    measured: float | None
    hits: int | None
    verdict: Verdict | None
    confirmed_by: tuple[str, ...] = ()

    @property
    def deviation(self) -> float | None:
        """Measured minus published score, in percentage points; None if one of the two is missing."""
        if self.reported is None or self.measured is None:
            return None
        return float(Decimal(self.measured) - Decimal(self.reported))


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """The file that the weights were read from.

    Args:
        sha256: in hex, computed from the bytes that were read.
        size: size in bytes.
        held_to: how the bytes were checked after the download: ``sha256`` (against the sha256 in the manifest),
            ``mega-mac`` (against the checksum in a Mega link) or ``nothing`` (not checked).
    """

    sha256: str
    size: int
    held_to: str


@dataclass(frozen=True, slots=True)
class DatasetCopy:
    """The copy of a dataset on which a job was measured.

    Args:
        name: key of the dataset registry.
        title: the name that its authors gave it.
        version: ``V1`` or ``V2`` for MSMT17; None for a dataset with one version.
        fingerprint: sha256 of the names, labels and sizes of all images; see the docs, page Datasets.
        partial: how the number of images differs from the published one; None for a complete copy.
        images: name of a split -> number of images.
    """

    name: str
    title: str
    version: str | None
    fingerprint: str
    partial: str | None
    images: dict[str, int]


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a result was measured.

    Args:
        device: ``cpu`` or ``cuda``.
        device_name: name of the GPU as its driver reports it, or model of the CPU.
        threads: number of CPU threads that torch used.
        engine: the runtime of the model and its version, such as ``openvino 2026.4.1`` or ``torch 2.14.1``.
        precision: how the model computes, see `Precision`; distances are always float32.
        batch_size: images per batch.
        pixels: the preprocessing in words.
        distance: ``euclidean`` or ``cosine``; None for classification.
        normalize: True if embeddings were scaled to length 1 before distances were computed.
        rerank: True if k-reciprocal re-ranking was applied.
        cameras: ``use``, or ``ignore`` if images from the camera of a query count too; None for classification.
    """

    device: str
    device_name: str
    threads: int
    engine: str
    precision: "Precision"
    batch_size: int
    pixels: str
    distance: str | None
    normalize: bool
    rerank: bool
    cameras: "Cameras | None"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a measurement took. If a run is repeated, only this part of a result changes.

    Args:
        seconds: duration of the pass over the images, in which several models can take part.
        images: number of images that the pass decoded.
        models: number of models that took part.
        ranking_s: seconds for computing distances and ranks.
    """

    seconds: float
    images: int
    models: int
    ranking_s: float

    @property
    def images_per_s(self) -> float:
        """Number of images that the pass decoded per second; 0 if the journal had all embeddings already."""
        return self.images / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """The fields of every result, measured or not.

    Args:
        job: the checkpoint, the dataset and the published scores.
        verdict: verdict on all metrics together.
        reason: why the scores are not comparable or not measured, or who else measured the scores that deviate from the
            published ones; None otherwise.
        figures: one `Figure` for each metric, in the order of `reidhub.zoo.checkpoint.METRICS`.
    """

    job: Job
    verdict: Verdict
    reason: str | None
    figures: tuple[Figure, ...]

    @property
    def shown_figures(self) -> tuple[Figure, ...]:
        """The `Figure` objects that tables show: those with a published score, or all if the job has no such score."""
        return tuple(figure for figure in self.figures if figure.reported or self.job.score is None)

    @property
    def short_reason(self) -> str | None:
        """`reason` without the details of a partial copy, which are the same for all results on that copy."""
        return self.reason

    @property
    def by_name(self) -> bool:
        """True if the user named the checkpoint or its model; the run then fails if the job is not measured."""
        return self.job.by_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(JobResult):
    """The result of a job that was measured.

    Args:
        file: the file that the weights were read from.
        copy: the copy of the dataset.
        conditions: how the job was measured.
        measurement: ranks, average precisions and hits.
        embeddings_key: key of the embeddings in the journal.
        timing: how long the measurement took.
    """

    file: CheckpointFile
    copy: DatasetCopy
    conditions: Conditions
    measurement: Measurement
    embeddings_key: str
    timing: Timing

    @property
    def short_reason(self) -> str | None:
        """`reason` without the details of a partial copy, which are the same for all results on that copy."""
        return self.reason and self.reason.removesuffix(f": {self.copy.partial}")

    @property
    def is_retrieval(self) -> bool:
        """True for a retrieval, False for a classification."""
        return self.measurement.mAP is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured(JobResult):
    """The result of a job that could not be measured, with the reason.

    Args:
        hint: what the user can do; None if there is no advice.
        file: the file of the checkpoint; None if it could not be fetched.
        copy: the copy of the dataset; None if it could not be read.
    """

    reason: str
    hint: str | None = None
    file: CheckpointFile | None = None
    copy: DatasetCopy | None = None


Result = Measured | NotMeasured


@dataclass(frozen=True, slots=True)
class Environment:
    """The software and the machine of a run.

    Args:
        versions: name -> version, of reidhub, python, torch, torchvision, numpy, pillow and libjpeg.
        platform: operating system and processor.
        devices: names of the GPUs and CPUs that ran the models.
    """

    versions: dict[str, str]
    platform: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The results of a run, in the order of the plan."""

    results: tuple[Result, ...]
    environment: Environment

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The results of the jobs that were measured."""
        return tuple(result for result in self.results if isinstance(result, Measured))

    @property
    def not_measured(self) -> tuple[NotMeasured, ...]:
        """The results of the jobs that could not be measured."""
        return tuple(result for result in self.results if isinstance(result, NotMeasured))

    def failed(self, *, strict: bool = False) -> bool:
        """Return True if a score deviates, or if a job was not measured although the user named its checkpoint.

        Args:
            strict: True to count every job that was not measured as a failure.
        """
        return any(result.verdict == "deviates" for result in self.measured) or any(
            strict or result.by_name for result in self.not_measured
        )
