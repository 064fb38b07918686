"""The results of a run: everything that tables, JSON, receipts and reports show.

A result is `Measured` or `NotMeasured`. Only `Timing` depends on the time of a run and on its speed.
"""

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, get_args

from reidhub.verification.plan import Job

Verdict = Literal["reproduced", "close", "deviates", "not comparable", "not run"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""In the order in which tables show them; of several verdicts the last one counts."""

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric, as reported and as measured.

    Args:
        metric: one of `reidhub.zoo.checkpoint.METRICS`.
        reported: the percentage as printed; None where it is not reported.
        measured: the percentage; None where nothing was measured.
        hits: number of queries (or images) that were found, of ``Measurement.queries``; None for mAP.
        verdict: on this figure alone; None where nothing is reported.
    """

    metric: str
    reported: str | None
    measured: float | None
    hits: int | None
    verdict: Verdict | None

    @property
    def deviation(self) -> float | None:
        """Measured minus reported, in points; None where one of them is missing."""
        if self.reported is None or self.measured is None:
            return None
        return float(Decimal(self.measured) - Decimal(self.reported))


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """The file that the weights were read from.

    Args:
        sha256: in hex, computed from the bytes that were read.
        size: bytes.
        held_to: ``sha256``, ``mega-mac`` or ``nothing``: what the bytes were checked against after the download.
    """

    sha256: str
    size: int
    held_to: str


@dataclass(frozen=True, slots=True)
class DatasetCopy:
    """The copy of a dataset that was measured on.

    Args:
        name: key of the dataset registry.
        title: the name that its authors gave it.
        version: ``V1`` or ``V2`` for MSMT17; None for a dataset with one version.
        fingerprint: sha256 of names, labels and sizes; see docs/datasets.md.
        partial: the difference to the published counts; None for a whole copy.
        images: split -> number of images.
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
        device_name: the name that its driver gives a GPU; the model of a CPU.
        threads: number of torch's threads on the CPU.
        precision: of convolutions and matrix products in the model; distances are always float32.
        batch_size: images per batch.
        pixels: the preprocessing in words.
        distance: ``euclidean`` or ``cosine``; None for classification.
        normalize: True where embeddings were made length 1 first.
        rerank: True where ranks are those of k-reciprocal re-ranking.
    """

    device: str
    device_name: str
    threads: int
    precision: Precision
    batch_size: int
    pixels: str
    distance: str | None
    normalize: bool
    rerank: bool


@dataclass(frozen=True, slots=True)
class Measurement:
    """The counts of a retrieval or a classification.

    A query of a retrieval that has no match in the gallery is skipped. Each image of a classification is a query.

    Args:
        first_match_rank: the rank of each query's nearest match, from 1; 0 for a skipped query. For classification,
            the place of the right class among the first five, from 1; 0 where it is not among them.
        average_precision: of each query, in [0, 1]; NaN for a skipped query. Empty for classification.
        queries: number of queries that were not skipped; means are taken over these.
        hits: at place k - 1, the number of queries that are found at rank k or better: for 50 ranks, or for 5 in a
            classification.
        mAP: in [0, 1]; None for classification.
        dimensions: D of the embeddings.
    """

    first_match_rank: tuple[int, ...]
    average_precision: tuple[float, ...]
    queries: int
    hits: tuple[int, ...]
    mAP: float | None
    dimensions: int

    @property
    def skipped(self) -> int:
        """Number of queries without a match in the gallery; 0 for classification."""
        return len(self.first_match_rank) - self.queries

    @property
    def cmc(self) -> tuple[float, ...]:
        """`hits` as fractions of `queries`."""
        return tuple(count / self.queries for count in self.hits)

    @property
    def per_query_digest(self) -> str:
        """sha256 in hex over one line per query, ``rank SPACE average precision NEWLINE``.

        The precision is written by ``float.hex``, which is exact and the same on every machine. A line of a
        classification has the rank alone.
        """
        if not self.average_precision:
            lines = [f"{rank}\n" for rank in self.first_match_rank]
        else:
            pairs = zip(self.first_match_rank, self.average_precision, strict=True)
            lines = [f"{rank} {precision.hex()}\n" for rank, precision in pairs]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a measurement took; the only part of a result that differs from run to run.

    Args:
        seconds: of the pass over the images, in which several models can take part.
        images: number of images that the pass decoded.
        models: number of models that took part.
        ranking_s: seconds for distances and ranks.
    """

    seconds: float
    images: int
    models: int
    ranking_s: float

    @property
    def images_per_s(self) -> float:
        """Images per second, each embedded by all models of the pass; 0 where the journal had all embeddings."""
        return self.images / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What every result has, measured or not.

    Args:
        job: the checkpoint, the dataset and the reported figures.
        verdict: on all figures together.
        reason: why the figures are not comparable or not measured; None otherwise.
        figures: reported and measured, in the order of `reidhub.zoo.checkpoint.METRICS`.
    """

    job: Job
    verdict: Verdict
    reason: str | None
    figures: tuple[Figure, ...]

    @property
    def shown_figures(self) -> tuple[Figure, ...]:
        """The reported figures; where none is reported, all of them."""
        return tuple(figure for figure in self.figures if figure.reported or self.job.score is None)

    @property
    def by_name(self) -> bool:
        """True where the checkpoint was asked for by its exact name: it is a failure then if it is not measured."""
        return self.job.by_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(JobResult):
    """The result of a job that was measured.

    Args:
        file: the file that the weights were read from.
        copy: the copy of the dataset.
        conditions: how the job was measured.
        measurement: the counts.
        embeddings_key: the journal's key of the embeddings: first those of the queries, then those of the gallery.
        timing: how long it took.
    """

    file: CheckpointFile
    copy: DatasetCopy
    conditions: Conditions
    measurement: Measurement
    embeddings_key: str
    timing: Timing

    @property
    def is_retrieval(self) -> bool:
        """True for a retrieval, False for a classification."""
        return self.measurement.mAP is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured(JobResult):
    """The result of a job that could not be measured; `reason` says why.

    Args:
        hint: what the user can do about the reason.
        file: the file of the checkpoint; None where it could not be fetched.
        copy: the copy of the dataset; None where it could not be read.
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
        devices: names of the devices that measured.
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
        """True where a figure deviates, or a job was not measured although its checkpoint was asked for by name.

        Args:
            strict: every job that was not measured counts.
        """
        return any(result.verdict == "deviates" for result in self.measured) or any(
            strict or result.by_name for result in self.not_measured
        )
