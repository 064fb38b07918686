"""What a verification found, as values: everything that tables, JSON, receipts and reports show.

Nothing here is computed from tensors, and nothing depends on when or how fast a run was, except `Timing`.
"""

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, get_args

from reidhub.verification.plan import Job
from reidhub.zoo.checkpoint import Checkpoint

Verdict = Literal["reproduced", "close", "deviates", "not comparable", "not run"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric, as reported and as measured.

    Args:
        metric: one of `reidhub.zoo.checkpoint.METRICS`.
        reported: the percentage as printed; None where none is.
        measured: percentage; None where nothing was measured.
        hits: queries (or images) counted as found, of ``Measurement.queries``; None for mAP.
        verdict: on this figure alone; None where nothing is reported.
    """

    metric: str
    reported: str | None
    measured: float | None
    hits: int | None
    verdict: Verdict | None

    @property
    def deviation(self) -> float | None:
        """Measured minus printed, in points; None where one of them is missing."""
        if self.reported is None or self.measured is None:
            return None
        return float(Decimal(self.measured) - Decimal(self.reported))


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """The file whose weights were measured.

    Args:
        sha256: in hex, computed from the bytes that were read.
        size: bytes.
        held_to: ``sha256``, ``mega-mac`` or ``nothing``: what the bytes were held to when they came.
    """

    sha256: str
    size: int
    held_to: str


@dataclass(frozen=True, slots=True)
class DatasetCopy:
    """The copy of a dataset that was measured on.

    Args:
        name: key of the dataset registry.
        title: the dataset's own name.
        version: ``V1`` or ``V2`` of MSMT17; None where there is only one.
        fingerprint: sha256 of names, labels and sizes, see docs/datasets.md.
        partial: how it differs from the published counts; None for a whole copy.
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
    """Under what a result was measured.

    Args:
        device: ``cpu`` or ``cuda``.
        device_name: as its driver calls it; of a CPU its model.
        threads: of torch on the CPU.
        precision: of convolutions and matrix products in the model; ranks are always exact.
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
    """What was counted, query by query.

    Args:
        first_match_rank: for each query the rank of its nearest match from 1; 0 where it was skipped, having none.
            For classification each image is a query: the place of its class among the first five, 0 beyond.
        average_precision: for each query in [0, 1], NaN where it was skipped; empty for classification.
        queries: over how many of them the means are taken.
        hits: at place k - 1, queries found at rank k or better: 50 ranks, 5 for classification.
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
        """Queries without a match in the gallery; 0 for classification."""
        return len(self.first_match_rank) - self.queries

    @property
    def cmc(self) -> tuple[float, ...]:
        """`hits` as fractions."""
        return tuple(count / self.queries for count in self.hits)

    @property
    def per_query_digest(self) -> str:
        """sha256 in hex over one line per query, ``rank SPACE average precision NEWLINE``.

        The precision is written as ``float.hex`` does, which is exact and the same everywhere, and left out (with its
        space) for classification.
        """
        if not self.average_precision:
            lines = [f"{rank}\n" for rank in self.first_match_rank]
        else:
            pairs = zip(self.first_match_rank, self.average_precision, strict=True)
            lines = [f"{rank} {precision.hex()}\n" for rank, precision in pairs]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Timing:
    """How long it took; the only part of a result that differs from run to run.

    Args:
        seconds: of the pass over the images that this model shared with others.
        images: decoded in that time.
        models: that embedded them.
        ranking_s: seconds for distances and ranks.
    """

    seconds: float
    images: int
    models: int
    ranking_s: float

    @property
    def images_per_s(self) -> float:
        """Images that went through all models of the pass, per second; 0 where they came from the journal."""
        return self.images / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What every result has: one checkpoint on one dataset, measured or not.

    Args:
        job: what was asked for, with the reported figures.
        verdict: the gravest verdict of the figures, or why there is none.
        reason: why the result is not comparable or was not measured; None otherwise.
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
        """True where the checkpoint was asked for by its exact name, so that not measuring it is a failure."""
        return self.job.by_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(JobResult):
    """The result of a job that was measured.

    Args:
        file: the file that the weights were read from.
        copy: the copy of the dataset.
        conditions: how it was measured.
        measurement: the counts.
        embeddings_key: the journal's key of the embeddings, query first, then gallery.
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


Soundness = Literal["intact", "loads", "as printed", "deviates", "not run"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """One checkpoint looked at without a dataset.

    Args:
        checkpoint: as the manifest has it.
        by_name: True where it was asked for by exact name.
        state: ``intact`` bytes; ``loads`` strictly where no cost is printed; the cost is ``as printed`` or
            ``deviates``; ``not run``.
        reason: why it did not run; None otherwise.
        hint: what the user can do about that.
        file: None where it could not be had.
        params_m: parameters of an embedding in millions; None where the weights were not loaded.
        gflops: multiply-adds of one image in 10^9; likewise.
    """

    checkpoint: Checkpoint
    by_name: bool
    state: Soundness
    reason: str | None = None
    hint: str | None = None
    file: CheckpointFile | None = None
    params_m: float | None = None
    gflops: float | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """What measured.

    Args:
        versions: package -> version: reidhub, python, torch, torchvision, numpy, pillow and libjpeg.
        platform: operating system and processor.
        devices: names of the devices that were used.
    """

    versions: dict[str, str]
    platform: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one run, in the order of the plan."""

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
        """True where a figure deviates, or something that was asked for by exact name was not measured.

        Args:
            strict: whatever was not measured counts.
        """
        return any(result.verdict == "deviates" for result in self.measured) or any(
            strict or result.by_name for result in self.not_measured
        )
