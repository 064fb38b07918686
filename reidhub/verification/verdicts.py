"""Compares measured scores with published ones, and gives a verdict on each.

A published score is rounded: 94.2 stands for the range [94.15, 94.25). A measured score in this range is
``reproduced``. A score at most 0.1 percentage points from the published number is ``close``: floating point or another
JPEG decoder can cause such a difference. Any other score ``deviates``. If it is ``reproduced`` or ``close`` compared
with an independent measurement in the manifest, the verdict is ``deviates, confirmed``. The measured score is an exact
fraction and is not rounded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from reidhub.verification.measurement import Measurement
from reidhub.verification.results import PARTIAL_COPY, VERDICTS, Conditions, DatasetCopy, Figure, Verdict
from reidhub.zoo.checkpoint import METRICS, Checkpoint, IndependentMeasurement, Score

_CLOSE = Fraction(1, 10)  # percentage points
_COMPARABLE_VERSIONS = {
    "msmt17": "V1",  # V2 has blurred faces
    "cuhk03": "detected",  # the default of torchreid, which measured the published scores
}
RANKS = {"rank1": 1, "rank5": 5, "rank10": 10}
"""The metrics of a retrieval beside its means -> the rank up to which a match counts."""

_MEANS = ("mAP", "mINP")
_PLACES = {"top1": 1, "top5": 5}  # the metrics of a classification


def judge(score: Score, metric: str, measured: Fraction) -> Verdict:
    """Compare a measured score with the published one, and return the verdict.

    Args:
        score: the published scores; they must include ``metric``.
        metric: one of `reidhub.zoo.checkpoint.METRICS`.
        measured: the measured percentage.
    """
    return _compare_with_printed(score.decimal(metric), measured)


def _find_confirmations(
    elsewhere: Iterable[IndependentMeasurement], metric: str, measured: Fraction
) -> tuple[str, ...]:
    """List who else measured a score from which the measured one does not deviate."""
    figures = [(other.who, Decimal(other.values[metric])) for other in elsewhere if metric in other.values]
    return tuple(who for who, printed in figures if _compare_with_printed(printed, measured) != "deviates")


def _compare_with_printed(printed: Decimal, measured: Fraction) -> Verdict:
    digits = max(0, -int(printed.as_tuple().exponent))
    half = Fraction(1, 2 * 10**digits)
    if -half <= measured - Fraction(printed) < half:
        return "reproduced"
    return "close" if abs(measured - Fraction(printed)) <= _CLOSE else "deviates"


def compare_figures(
    score: Score | None,
    measurement: Measurement | None,
    elsewhere: Sequence[IndependentMeasurement] = (),
    *,
    comparable: bool = True,
) -> tuple[Figure, ...]:
    """Compare the published scores with the measured ones, metric by metric.

    Args:
        score: the published scores; None if there are none.
        measurement: ranks, average precisions and hits; None if nothing was measured.
        elsewhere: what others measured for the same checkpoint on the same dataset.
        comparable: False if the scores cannot be compared (see `why_not_comparable`); the verdict says so.

    Returns:
        One `Figure` for each metric: rank1, rank5, rank10, mAP and mINP for a retrieval, top1 and top5 for a
        classification.
        If the score of another metric is published, this metric is included too, but it is not measured.
    """
    kind = _list_metrics(classification=_is_classification(score, measurement))
    shown = [metric for metric in METRICS if metric in kind or (score and metric in score.values)]
    figures = (_compare(metric, score, measurement, comparable=comparable) for metric in shown)
    return tuple(_confirm(figure, measurement, elsewhere) for figure in figures)


def find_unfit_metrics(score: Score | None, *, classification: bool) -> list[str]:
    """List the metrics of published scores that this kind of dataset does not have, such as rank1 of a classification.

    Args:
        score: the published scores; None if there are none.
        classification: True for a classification dataset, False for a retrieval.
    """
    known = _list_metrics(classification=classification)
    return [metric for metric in (score.values if score else ()) if metric not in known]


def _list_metrics(*, classification: bool) -> tuple[str, ...]:
    return tuple(_PLACES) if classification else (*RANKS, *_MEANS)


def _is_classification(score: Score | None, measurement: Measurement | None) -> bool:
    if measurement is not None:
        return measurement.mAP is None
    return score is not None and any(metric in _PLACES for metric in score.values)


def _compare(metric: str, score: Score | None, measurement: Measurement | None, *, comparable: bool) -> Figure:
    reported = score.values.get(metric) if score else None
    if measurement is None:
        return Figure(metric, reported, None, None, None if reported is None else "not run")
    measured, hits = _measure(metric, measurement)
    verdict: Verdict | None = None if reported is None else "not comparable"
    if score and reported is not None and measured is not None and comparable:
        verdict = judge(score, metric, measured)
    return Figure(metric, reported, None if measured is None else float(measured), hits, verdict)


def _confirm(figure: Figure, measurement: Measurement | None, elsewhere: Sequence[IndependentMeasurement]) -> Figure:
    """Change the verdict on a figure that deviates, if others measured the same."""
    if measurement is None or figure.verdict != "deviates":
        return figure
    measured, _ = _measure(figure.metric, measurement)
    others = _find_confirmations(elsewhere, figure.metric, measured) if measured is not None else ()
    return replace(figure, verdict="deviates, confirmed", confirmed_by=others) if others else figure


def explain_confirmations(figures: Iterable[Figure]) -> str | None:
    """Return a text that says who else measured the scores that deviate; None if nobody is known."""
    found: dict[tuple[str, ...], list[str]] = {}
    for figure in figures:
        if figure.confirmed_by:
            found.setdefault(figure.confirmed_by, []).append(figure.metric)
    return (
        "; ".join(f"{' and '.join(metrics)} as measured by {', '.join(who)}" for who, metrics in found.items()) or None
    )


def _measure(metric: str, measurement: Measurement) -> tuple[Fraction | None, int | None]:
    """Return the measured percentage and the number of correct queries of one metric.

    For mAP and mINP, the second is None. For a metric of retrievals on a classification, or the reverse, both are None.
    """
    if measurement.mAP is not None and metric in _MEANS:
        return 100 * Fraction(getattr(measurement, metric)), None
    ranks = _PLACES if measurement.mAP is None else RANKS
    if metric not in ranks:
        return None, None
    hits = measurement.hits[ranks[metric] - 1]
    return Fraction(100 * hits, measurement.queries), hits


def combine_verdicts(verdicts: Iterable[Verdict | None]) -> Verdict:
    """Combine the verdicts on several scores: return the verdict that comes last in `VERDICTS`.

    Args:
        verdicts: the verdict on each score; None for a metric without a published score, which is ignored.

    Returns:
        One verdict; ``not comparable`` if all are None.
    """
    return max((verdict for verdict in verdicts if verdict is not None), key=VERDICTS.index, default="not comparable")


def why_never_scored(checkpoint: Checkpoint, dataset: str) -> str | None:
    """Return the reason why a checkpoint must not be measured on a dataset; None if it may be."""
    if checkpoint.combineall and dataset in checkpoint.trained_on:
        return f"trained on all images of {dataset}, its query and gallery among them"
    return None


def why_not_comparable(score: Score | None, copy: DatasetCopy, conditions: Conditions) -> str | None:
    """Return the reasons why published scores cannot be compared with a measurement; None if they can.

    Args:
        score: the published scores; None if there are none.
        copy: the copy of the dataset on which the checkpoint was measured.
        conditions: how the checkpoint was measured.
    """
    reasons = [f"no figure is published for {copy.name}"] if score is None else []
    version = _COMPARABLE_VERSIONS.get(copy.name, copy.version)
    if score and score.not_comparable:
        reasons.append(score.not_comparable)
    if score and copy.version != version:
        reasons.append(f"measured on {copy.title} {copy.version}; published figures are on {version}")
    if changes := _list_changes(conditions):
        reasons.append(f"measured with {' and '.join(changes)}" + ("; published figures are without" if score else ""))
    if copy.partial:
        reasons.append(f"{PARTIAL_COPY}: {copy.partial}")
    return "; ".join(reasons) or None


def _list_changes(conditions: Conditions) -> list[str]:
    """List the choices of the user that change scores."""
    changes = {
        "normalised embeddings": conditions.normalize,
        "re-ranking": conditions.rerank,
        "ignored cameras": conditions.cameras == "ignore",
    }
    return [change for change, chosen in changes.items() if chosen]
