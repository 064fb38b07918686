"""Results put together: of what was measured, and of what could not be."""

from reidhub.errors import ReidhubError
from reidhub.verification.plan import Job
from reidhub.verification.preparation import NeverScoredError, Task
from reidhub.verification.results import Conditions, Measurement, Result, Timing
from reidhub.verification.verdicts import figures_of, gravest, why_not_comparable


def missing_result(job: Job, error: ReidhubError, task: Task | None = None) -> Result:
    """The result of a job that was not measured.

    Args:
        job: what was asked for.
        error: why not.
        task: what was ready, where it came that far.
    """
    return Result(
        checkpoint=job.checkpoint,
        dataset=job.dataset,
        score=job.score,
        by_name=job.by_name,
        verdict="not comparable" if isinstance(error, NeverScoredError) else "not run",
        reason=error.message,
        figures=figures_of(job.score, None),
        hint=error.hint,
        file=task.file if task else None,
        copy=task.copy if task else None,
    )


def measured_result(
    task: Task, conditions: Conditions, measurement: Measurement, rows_key: str, timing: Timing
) -> Result:
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
    return Result(
        checkpoint=job.checkpoint,
        dataset=job.dataset,
        score=job.score,
        by_name=job.by_name,
        verdict=gravest(figure.verdict for figure in figures),
        reason=reason,
        figures=figures,
        file=task.file,
        copy=task.copy,
        conditions=conditions,
        measurement=measurement,
        embeddings=rows_key,
        timing=timing,
    )
