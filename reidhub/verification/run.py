"""Runs a plan: every job gives a result, and a job that fails does not stop the others."""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

import torch
from tqdm import tqdm

from reidhub.cache.store import Cache
from reidhub.datasets import ClassificationSet
from reidhub.devices import count_processors
from reidhub.errors import CacheError, DatasetError, DiskFullError, ReidhubError
from reidhub.inference.preprocess import Transform
from reidhub.verification.dataset_pass import DatasetPass, PassMember, RunPass
from reidhub.verification.journal import Journal, RowLog, make_key
from reidhub.verification.measurement import Measurement
from reidhub.verification.movable_embedder import ModelSource
from reidhub.verification.plan import Job, JobKey, Plan
from reidhub.verification.prepare import Data, NeverScoredError, Preparation, PreparedJob
from reidhub.verification.receipt import describe_environment
from reidhub.verification.results import Conditions, Measured, NotMeasured, Report, Result, Timing
from reidhub.verification.scoring import score_classification, score_retrieval
from reidhub.verification.settings import Settings, read_device_name
from reidhub.verification.verdicts import combine_verdicts, compare_figures, explain_confirmations, why_not_comparable

if TYPE_CHECKING:
    Bar = tqdm[NoReturn]

_log = logging.getLogger(__name__)


def verify(
    plan: Plan,
    settings: Settings,
    journal: Journal,
    cache: Cache,
    *,
    given: Mapping[str, Data] = MappingProxyType({}),
    run_pass: RunPass = DatasetPass.run,
) -> Report:
    """Measure every job of a plan.

    A job that cannot be measured gives a result with a reason; the other jobs are still measured.

    Args:
        plan: what to measure.
        settings: how to measure it.
        journal: stores embeddings and measurements. What an interrupted run has stored is not computed again. This
            function removes nothing from the journal.
        cache: where the files of the checkpoints are kept.
        given: datasets by their names that need not be read; all others are read below the data root.
        run_pass: embeds the images of a dataset with some models: in this process, or on a cluster.

    Raises:
        CacheError: the journal cannot be written.
        DiskFullError: the journal or the cache has no room.
        torch.OutOfMemoryError: the GPU has too little memory.
    """
    preparation = Preparation(settings, cache, given)
    results: dict[JobKey, Result] = {}
    prepared: list[PreparedJob] = []
    for job in plan.jobs:
        try:
            prepared.append(preparation.prepare(job))
        except DiskFullError:
            raise
        except ReidhubError as error:
            results[job.key] = _make_not_measured(job, error)
    groups = _group_by_images(prepared)
    images = sum(len(group[0].images) for group in groups)
    with tqdm(total=images, unit=" images", desc="verify", disable=None, leave=False) as bar:
        for group in groups:
            results |= _measure_group(group, settings, journal, run_pass, bar)
    devices = [result.conditions.device_name for result in results.values() if isinstance(result, Measured)]
    return Report(tuple(results[job.key] for job in plan.jobs), describe_environment(devices))


def _group_by_images(prepared: Iterable[PreparedJob]) -> list[list[PreparedJob]]:
    """Group the jobs that need the same images, resized in the same way."""
    groups: dict[tuple[str, int, int, str], list[PreparedJob]] = {}
    for one in prepared:
        pixels = one.pixels
        key = one.job.dataset, pixels.height, pixels.width, pixels.interpolation
        groups.setdefault(key, []).append(one)
    return list(groups.values())


@dataclass(frozen=True, slots=True)
class _LoadedJob:
    """A job with its model loaded.

    Args:
        prepared: the job, with its dataset and its file.
        member: the model.
        log: the file in the journal for its embeddings.
        conditions: how the job is measured.
        rows_key: key of the embeddings in the journal.
        counts_key: key of the `Measurement` in the journal.
    """

    prepared: PreparedJob
    member: PassMember
    log: RowLog
    conditions: Conditions
    rows_key: str
    counts_key: str

    @property
    def job(self) -> Job:
        """The checkpoint and the dataset."""
        return self.prepared.job


def _measure_group(
    group: list[PreparedJob], settings: Settings, journal: Journal, run_pass: RunPass, bar: "Bar"
) -> dict[JobKey, Result]:
    """Measure jobs that share their images: each image is decoded once, and every model embeds it."""
    results: dict[JobKey, Result] = {}
    loaded: list[_LoadedJob] = []
    try:
        for prepared in group:
            try:
                loaded.append(_load(prepared, settings, journal))
                if len(group) > 1:
                    loaded[-1].member.embedder.rest()  # there may be memory for only some of the models
            except CacheError:
                raise
            except ReidhubError as error:
                results[prepared.job.key] = _make_not_measured(prepared.job, error, prepared)
        timing = _embed(group[0], loaded, settings, run_pass, bar)
    except DatasetError as error:  # an image that cannot be decoded
        return results | {one.job.key: _make_not_measured(one.job, error, one.prepared) for one in loaded}
    finally:
        for one in loaded:
            one.log.close()
    return results | {one.job.key: _score(one, timing, settings, journal) for one in loaded}


def _load(prepared: PreparedJob, settings: Settings, journal: Journal) -> _LoadedJob:
    """Load the model of a job, and open the file in the journal for its embeddings."""
    source = ModelSource(prepared.job.checkpoint, prepared.path, prepared.pixels, prepared.is_classification)
    embedder = source.load(settings)
    conditions = _describe_conditions(prepared, embedder.describe_engine(settings.device), settings)
    rows_key = _make_rows_key(prepared, conditions)
    counts_key = make_key(rows_key, conditions.distance, conditions.normalize, conditions.rerank, conditions.cameras)
    log = journal.open_rows(rows_key, len(prepared.images), embedder.dimensions, settings.batch_size)
    return _LoadedJob(prepared, PassMember(embedder, log, source), log, conditions, rows_key, counts_key)


def _make_rows_key(prepared: PreparedJob, conditions: Conditions) -> str:
    """Make the key of the embeddings: a hash of everything that they depend on.

    The fingerprint of a dataset says nothing about the order of its images, and each row belongs to one image.
    """
    checkpoint, root = prepared.job.checkpoint, str(prepared.data.root)
    return make_key(
        (checkpoint.name, prepared.file.sha256, asdict(checkpoint.layout)),
        (prepared.copy.name, prepared.copy.fingerprint, [str(path).removeprefix(root) for path in prepared.images]),
        (conditions.pixels, conditions.batch_size, conditions.precision),
        (conditions.device, conditions.device_name, conditions.threads, conditions.engine),
        describe_environment(()).versions,
    )


def _describe_conditions(prepared: PreparedJob, engine: str, settings: Settings) -> Conditions:
    classify = prepared.is_classification
    return Conditions(
        device=settings.device.type,
        device_name=read_device_name(settings.device),
        threads=min(torch.get_num_threads(), count_processors()),
        engine=engine,
        precision=settings.precision,
        batch_size=settings.batch_size,
        pixels=str(Transform(prepared.pixels)),
        distance=None if classify else settings.distance or prepared.job.checkpoint.distance,
        normalize=settings.normalize and not classify,
        rerank=settings.rerank and not classify,
        cameras=None if classify else settings.cameras,
    )


def _embed(first: PreparedJob, loaded: list[_LoadedJob], settings: Settings, run_pass: RunPass, bar: "Bar") -> Timing:
    """Embed the images with every model; embeddings that the journal already has are not computed again.

    Args:
        first: any job of the group; all jobs of a group have the same images.
        loaded: the jobs of the group whose models could be loaded.
        settings: how to measure.
        run_pass: see `verify`.
        bar: the progress bar; it counts images.
    """
    embedding = DatasetPass(first.images, first.pixels, [one.member for one in loaded])
    missing, start = len(first.images) - embedding.start, time.perf_counter()
    _advance_to(embedding.start, bar)
    _log.info("%s: %d images to embed, for %d checkpoints", first.job.dataset, missing, len(loaded))
    run_pass(embedding, settings, bar.update)
    return Timing(time.perf_counter() - start if missing else 0.0, missing, len(loaded), 0.0)


def _advance_to(images: int, bar: "Bar") -> None:
    """Move the bar past the images that an earlier run has embedded. The speed that the bar shows ignores them."""
    if not bar.disable:
        bar.initial += images
        bar.update(images)


def _score(loaded: _LoadedJob, timing: Timing, settings: Settings, journal: Journal) -> Result:
    """Compute the result of a job whose embeddings are complete."""
    start = time.perf_counter()
    try:
        measurement = _count_hits(loaded, settings, journal)
    except CacheError:
        raise
    except ReidhubError as error:
        return _make_not_measured(loaded.job, error, loaded.prepared)
    return _make_measured(loaded, measurement, replace(timing, ranking_s=time.perf_counter() - start))


def _count_hits(loaded: _LoadedJob, settings: Settings, journal: Journal) -> Measurement:
    """Return the `Measurement` of a job: from the journal, or else computed now and written to the journal."""
    measurement = journal.read_measurement(loaded.counts_key)
    if measurement is None:
        rows, data = loaded.log.read(), loaded.prepared.data
        if isinstance(data, ClassificationSet):
            measurement = score_classification(rows, data, loaded.member.embedder.embedding_dim)
        else:
            measurement = score_retrieval(rows, data, settings.distance or loaded.job.checkpoint.distance, settings)
        journal.write_measurement(loaded.counts_key, measurement)
    return measurement


def _make_not_measured(job: Job, error: ReidhubError, prepared: PreparedJob | None = None) -> NotMeasured:
    """Make the result of a job that could not be measured.

    Args:
        job: the checkpoint and the dataset.
        error: why the job could not be measured.
        prepared: the job with its dataset and its file; None if these could not be read or downloaded.
    """
    return NotMeasured(
        job=job,
        verdict="not comparable" if isinstance(error, NeverScoredError) else "not run",
        reason=error.message,
        figures=compare_figures(job.score, None),
        hint=error.hint,
        file=prepared.file if prepared else None,
        copy=prepared.copy if prepared else None,
    )


def _make_measured(loaded: _LoadedJob, measurement: Measurement, timing: Timing) -> Measured:
    """Make the result of a job that was measured, with its verdict."""
    job, copy, conditions = loaded.job, loaded.prepared.copy, loaded.conditions
    reason = why_not_comparable(job.score, copy, conditions)
    elsewhere = [one for one in job.checkpoint.measured_elsewhere if one.dataset == job.dataset]
    figures = compare_figures(job.score, measurement, elsewhere, comparable=reason is None)
    return Measured(
        job=job,
        verdict=combine_verdicts(figure.verdict for figure in figures),
        reason=reason or explain_confirmations(figures),
        figures=figures,
        file=loaded.prepared.file,
        copy=copy,
        conditions=conditions,
        measurement=measurement,
        embeddings_key=loaded.rows_key,
        timing=timing,
    )
