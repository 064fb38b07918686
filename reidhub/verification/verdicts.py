"""The rule that turns a printed figure and a measured one into a verdict, in exact numbers.

The printed digits are the claim: 94.2 means [94.15, 94.25). Equal after rounding is ``reproduced``; up to and including
0.1 points from the printed number is ``close``, which floating point and another JPEG decoder can do; anything beyond
``deviates``.
"""

from collections.abc import Iterable
from fractions import Fraction

from reidhub.verification.results import VERDICTS, DatasetCopy, Figure, Measurement, Verdict
from reidhub.zoo.checkpoint import METRICS, Checkpoint, Score

_CLOSE = Fraction(1, 10)  # points
_COMPARABLE_VERSIONS = {"msmt17": "V1"}  # the published scores of MSMT17 are on V1; V2 has blurred faces
_RANK_OF = {"rank1": 1, "rank5": 5, "rank10": 10, "top1": 1, "top5": 5}


def judge(score: Score, metric: str, measured: Fraction) -> Verdict:
    """The verdict on one figure.

    Args:
        score: has ``metric`` among its values.
        metric: one of `reidhub.zoo.checkpoint.METRICS`.
        measured: percentage, exact.
    """
    printed = score.decimal(metric)
    digits = max(0, -int(printed.as_tuple().exponent))
    half = Fraction(1, 2 * 10**digits)
    if -half <= measured - Fraction(printed) < half:
        return "reproduced"
    return "close" if abs(measured - Fraction(printed)) <= _CLOSE else "deviates"


def figures_of(score: Score | None, measurement: Measurement | None, *, comparable: bool = True) -> tuple[Figure, ...]:
    """Every metric that is reported or was measured.

    Args:
        score: the reported figures; None where none are.
        measurement: None where nothing was measured.
        comparable: False where no verdict can be passed on what was measured.
    """
    kind = ("top1", "top5") if _is_classification(score, measurement) else ("rank1", "rank5", "rank10", "mAP")
    shown = [metric for metric in METRICS if metric in kind or (score and metric in score.values)]
    return tuple(_figure(metric, score, measurement, comparable=comparable) for metric in shown)


def _is_classification(score: Score | None, measurement: Measurement | None) -> bool:
    if measurement is not None:
        return measurement.mAP is None
    return score is not None and "top1" in score.values


def _figure(metric: str, score: Score | None, measurement: Measurement | None, *, comparable: bool) -> Figure:
    reported = score.values.get(metric) if score else None
    verdict: Verdict | None = None if reported is None else "not run" if measurement is None else "not comparable"
    measured, hits = _measured(metric, measurement) if measurement else (None, None)
    if score and reported is not None and measured is not None and comparable:
        verdict = judge(score, metric, measured)
    return Figure(metric, reported, None if measured is None else float(measured), hits, verdict)


def _measured(metric: str, measurement: Measurement) -> tuple[Fraction | None, int | None]:
    """Percentage and hit count."""
    if metric == "mAP":
        return None if measurement.mAP is None else 100 * Fraction(measurement.mAP), None
    hits = measurement.hits[_RANK_OF[metric] - 1]
    return Fraction(100 * hits, measurement.queries), hits


def gravest(verdicts: Iterable[Verdict | None]) -> Verdict:
    """The one verdict on several figures; figures without one do not count."""
    return max((verdict for verdict in verdicts if verdict is not None), key=VERDICTS.index, default="not comparable")


def why_never_scored(checkpoint: Checkpoint, dataset: str) -> str | None:
    """Why a checkpoint must not be scored on a dataset at all; None where it may."""
    if checkpoint.combineall and dataset in checkpoint.trained_on:
        return f"trained on all images of {dataset}, its query and gallery among them"
    return None


def why_not_comparable(score: Score | None, copy: DatasetCopy, *, normalize: bool, rerank: bool) -> str | None:
    """Why a measurement neither confirms nor refutes the reported figures; None where it can.

    Args:
        score: the reported figures; None where none are.
        copy: what was measured on.
        normalize: embeddings were made length 1 first.
        rerank: ranks are those of re-ranking.
    """
    version = _COMPARABLE_VERSIONS.get(copy.name, copy.version)
    if score is None:
        return f"no figure is published for {copy.name}"
    if score.not_comparable:
        return score.not_comparable
    if copy.version != version:
        return f"measured on {copy.title} {copy.version}; published figures are on {version}"
    if copy.partial:
        return f"partial copy: {copy.partial}"
    if normalize or rerank:
        what = " and ".join(["normalised embeddings"] * normalize + ["re-ranking"] * rerank)
        return f"measured with {what}; published figures are without"
    return None
