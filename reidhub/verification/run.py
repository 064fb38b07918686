"""A run: every job of a plan becomes a result, whatever happens to the others."""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

import torch
from tqdm import tqdm

from reidhub.cache.store import Cache
from reidhub.datasets import ClassificationSet
from reidhub.errors import CacheError, DatasetError, DiskFullError, ReidhubError
from reidhub.inference.preprocess import Transform
from reidhub.torch_settings import count_processors
from reidhub.verification.dataset_pass import Embedder, Member, Pass, read_model
from reidhub.verification.journal import Journal, key_of
from reidhub.verification.plan import Job, Plan
from reidhub.verification.prepare import NeverScoredError, Preparation, Task
from reidhub.verification.receipt import environment
from reidhub.verification.results import Conditions, Measured, Measurement, NotMeasured, Report, Result, Timing
from reidhub.verification.scoring import score_classification, score_retrieval
from reidhub.verification.settings import Settings, device_name
from reidhub.verification.verdicts import figures_of, gravest, why_not_comparable

if TYPE_CHECKING:
    Bar = tqdm[NoReturn]

Key = tuple[str, str]

_log = logging.getLogger(__name__)


def verify(plan: Plan, settings: Settings, journal: Journal, cache: Cache) -> Report:
    """Measure every job of a plan.

    A job that cannot be measured becomes a result with a reason; it stops no other job.

    Args:
        plan: what to measure.
        settings: how.
        journal: what earlier, killed runs have done already; it is left as it is at the end.
        cache: where the files of the checkpoints are kept.

    Raises:
        CacheError: the journal cannot be written.
        DiskFullError: the journal or the cache has no room.
        torch.OutOfMemoryError: the GPU has too little memory.
    """
    preparation = Preparation(settings, cache)
    results: dict[Key, Result] = {}
    tasks: list[Task] = []
    for job in plan.jobs:
        try:
            tasks.append(preparation.task(job))
        except DiskFullError:
            raise
        except ReidhubError as error:
            results[job.key] = missing_result(job, error)
    for key, result in _measured(tasks, _Bench(settings, journal)):
        results[key] = result
    devices = [result.conditions.device_name for result in results.values() if isinstance(result, Measured)]
    return Report(tuple(results[job.key] for job in plan.jobs), environment(devices))


def _measured(tasks: Iterable[Task], bench: "_Bench") -> Iterator[tuple[Key, Result]]:
    """Task by task, those that share images together."""
    passes: dict[tuple[str, int, int], list[Task]] = {}
    for task in tasks:
        passes.setdefault((task.job.dataset, task.pixels.height, task.pixels.width), []).append(task)
    images = sum(len(together[0].images) for together in passes.values())
    with tqdm(total=images, unit=" images", desc="verify", disable=None, leave=False) as bar:
        for together in passes.values():
            yield from bench.measure(together, bar)


def _skip(bar: "Bar", images: int) -> None:
    """Count images that an earlier run has done, without counting them as speed."""
    if not bar.disable:
        bar.initial += images
        bar.update(images)


@dataclass(frozen=True, slots=True)
class _Seat:
    """A task with its model loaded, and the keys under which the journal has its rows and its counts."""

    task: Task
    member: Member
    conditions: Conditions
    rows_key: str
    counts_key: str
    dimensions: int


class _Bench:
    """Where tasks are measured."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self._settings = settings
        self._journal = journal

    def measure(self, tasks: list[Task], bar: "Bar") -> Iterator[tuple[Key, Result]]:
        """The results of tasks that share a dataset and the size of its images."""
        seats: list[_Seat] = []
        try:
            for task in tasks:
                try:
                    seats.append(self._seat(task))
                except CacheError:
                    raise
                except ReidhubError as error:
                    yield task.job.key, missing_result(task.job, error, task)
            images = tasks[0].images
            once = Pass(images, tasks[0].pixels, [seat.member for seat in seats])
            _skip(bar, once.start)
            left, start = len(images) - once.start, time.perf_counter()
            _log.info("%s: %d images to embed, for %d checkpoints", tasks[0].job.dataset, left, len(seats))
            once.run(self._settings, bar.update)
        except DatasetError as error:  # an image that cannot be decoded
            for seat in seats:
                yield seat.task.job.key, missing_result(seat.task.job, error, seat.task)
            return
        finally:
            for seat in seats:
                seat.member.log.close()
        timing = Timing(time.perf_counter() - start if left else 0.0, left, len(seats), 0.0)
        for seat in seats:
            yield seat.task.job.key, self._result(seat, timing)

    def _seat(self, task: Task) -> _Seat:
        model = read_model(task.job.checkpoint, task.path)
        batch, precision = self._settings.batch_size, self._settings.precision
        embedder = Embedder(model, task.pixels, classify=task.classify, batch=batch, precision=precision)
        conditions = self._conditions(task)
        rows_key = key_of(
            (task.job.checkpoint.name, task.file.sha256, task.copy.name, task.copy.fingerprint),
            (conditions.pixels, conditions.batch_size, conditions.precision),
            (conditions.device, conditions.device_name, conditions.threads, str(torch.__version__)),
        )
        counts_key = key_of(rows_key, conditions.distance, conditions.normalize, conditions.rerank)
        log = self._journal.rows(rows_key, len(task.images), embedder.dimensions, self._settings.batch_size)
        return _Seat(task, Member(embedder, log), conditions, rows_key, counts_key, model.embedding_dim)

    def _conditions(self, task: Task) -> Conditions:
        settings = self._settings
        return Conditions(
            device=settings.device.type,
            device_name=device_name(settings.device),
            threads=min(torch.get_num_threads(), count_processors()),
            precision=settings.precision,
            batch_size=settings.batch_size,
            pixels=str(Transform(task.pixels)),
            distance=None if task.classify else task.job.checkpoint.distance,
            normalize=settings.normalize and not task.classify,
            rerank=settings.rerank and not task.classify,
        )

    def _result(self, seat: _Seat, timing: Timing) -> Result:
        start = time.perf_counter()
        try:
            measurement = self._counted(seat)
        except CacheError:
            raise
        except ReidhubError as error:
            return missing_result(seat.task.job, error, seat.task)
        timing = replace(timing, ranking_s=time.perf_counter() - start)
        return measured_result(seat.task, seat.conditions, measurement, seat.rows_key, timing)

    def _counted(self, seat: _Seat) -> Measurement:
        """From the journal where it is there."""
        measurement = self._journal.measurement(seat.counts_key)
        if measurement is None:
            rows = seat.member.log.read()
            data, distance = seat.task.data, seat.task.job.checkpoint.distance
            if isinstance(data, ClassificationSet):
                measurement = score_classification(rows, data, seat.dimensions)
            else:
                measurement = score_retrieval(rows, data, distance, self._settings)
            self._journal.keep(seat.counts_key, measurement)
        return measurement


def missing_result(job: Job, error: ReidhubError, task: Task | None = None) -> NotMeasured:
    """The result of a job that was not measured.

    Args:
        job: what was asked for.
        error: why not.
        task: what was ready, where it came that far.
    """
    return NotMeasured(
        job=job,
        verdict="not comparable" if isinstance(error, NeverScoredError) else "not run",
        reason=error.message,
        figures=figures_of(job.score, None),
        hint=error.hint,
        file=task.file if task else None,
        copy=task.copy if task else None,
    )


def measured_result(
    task: Task, conditions: Conditions, measurement: Measurement, rows_key: str, timing: Timing
) -> Measured:
    """The result of a job that was measured, with its verdict.

    Args:
        task: what was ready.
        conditions: how it was measured.
        measurement: what was counted.
        rows_key: where the journal has the embeddings.
        timing: how long it took.
    """
    job = task.job
    reason = why_not_comparable(job.score, task.copy, normalize=conditions.normalize, rerank=conditions.rerank)
    figures = figures_of(job.score, measurement, comparable=reason is None)
    return Measured(
        job=job,
        verdict=gravest(figure.verdict for figure in figures),
        reason=reason,
        figures=figures,
        file=task.file,
        copy=task.copy,
        conditions=conditions,
        measurement=measurement,
        embeddings_key=rows_key,
        timing=timing,
    )
