"""The public functions `reidhub.verify` and `reidhub.evaluate`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from reidhub.cache.store import Cache
from reidhub.datasets.own_images import OwnImages
from reidhub.devices import find_device
from reidhub.errors import EvaluationError
from reidhub.metrics.inputs import Cameras, Distance
from reidhub.torch_settings import Precision
from reidhub.verification.journal import choose_folder, open_journal
from reidhub.verification.own_data import Choices, OwnDataRun, RetrievalScores
from reidhub.verification.plan import Selection, Selector, plan
from reidhub.verification.results import Report
from reidhub.verification.run import verify as _verify
from reidhub.verification.settings import Settings
from reidhub.zoo.manifest import zoo

if TYPE_CHECKING:
    from reidhub.datasets.own_images import Layout

Selectors = Selector | Sequence[Selector]


def verify(
    selector: Selectors,
    data_root: Path | str,
    *,
    datasets: str | Sequence[str] = (),
    architecture: str | None = None,
    device: torch.device | str | None = None,
    precision: Precision = "fp32",
    batch: int | None = None,
    allow_partial: bool = False,
) -> Report:
    """Measure published scores again on your copies of the datasets, as ``reidhub verify`` does.

    An example::

        report = reidhub.verify("osnet_x1_0.msmt17", data_root="/data/reid")
        for result in report.results:
            print(result.job.dataset, result.verdict)
            for figure in result.figures:
                print(figure.metric, figure.reported, figure.measured)

    If the function is interrupted, the same call resumes.

    Args:
        selector: the name of a checkpoint, of a model (its default checkpoint), a glob (``"*.msmt17"``), the path of a
            checkpoint file, or a list of these.
        data_root: the folder that has the datasets.
        datasets: measure only on this dataset or these; empty for all datasets with published scores. A file that is
            not in the zoo has no published scores, so it needs the name of a dataset.
        architecture: the architecture of files; None to detect it.
        device: the device; None for the GPU if there is one, else the CPU.
        precision: see `reidhub.embedder`.
        batch: images per batch; None for a number that suits the device.
        allow_partial: accept incomplete copies of datasets; their scores cannot be compared with published ones.

    Returns:
        The results in the order of the manifest. A checkpoint that cannot be measured gives a result with a reason.

    Raises:
        UnknownCheckpointError: a selector matches nothing, or there is no such file.
        UsageError: nothing would be measured, an argument has another value, or another run measures the same.
        WeightsError: a file does not hold exactly the weights of one architecture.
        CacheError: the cache folder cannot be written.
    """
    jobs = plan(
        Selection.of(zoo(), _list(selector), architecture=architecture),
        [datasets] if isinstance(datasets, str) else datasets,
    )
    settings = Settings.for_device(
        find_device(device), Path(data_root), batch_size=batch, precision=precision, allow_partial=allow_partial
    )
    cache = Cache()
    with open_journal(choose_folder(cache.root, jobs, settings)) as journal:
        report = _verify(jobs, settings, journal, cache)
        journal.discard()
    return report


def evaluate(
    model: Selectors,
    data: Path | str | None = None,
    *,
    layout: "Layout" = "market1501",
    query: Path | str | None = None,
    gallery: Path | str | None = None,
    pattern: str | None = None,
    cameras: Cameras = "use",
    architecture: str | None = None,
    distance: Distance | Literal["both"] | None = None,
    thresholds: bool = False,
    rerank: bool = False,
    device: torch.device | str | None = None,
    precision: Precision = "fp32",
    batch: int | None = None,
) -> list[RetrievalScores]:
    """Measure checkpoints on your own images, as ``reidhub evaluate`` does.

    An example::

        [scores] = reidhub.evaluate("my.pth", "photos", layout="identities")
        print(scores.rank1, scores.mAP)

    Each image is decoded once, also for several checkpoints. If the function is interrupted, the same call resumes.

    Args:
        model: the name of a checkpoint, of a model (its default checkpoint), the path of a checkpoint file, or a list
            of these.
        data: the folder with the images, or the CSV file.
        layout: ``market1501``: ``data`` has the folders ``query`` and ``gallery`` (or ``bounding_box_test``), with the
            file names of Market-1501. ``identities``: one folder for each person; each image is a query, with all other
            images as its gallery. ``csv``: ``data`` is a CSV file with the columns path, pid, camid and split.
            ``pattern``: see ``pattern``.
        query: folder of the query images, for ``pattern``.
        gallery: folder of the gallery images, for ``pattern``.
        pattern: regular expression with the named groups ``pid`` and ``camid`` that is searched in the path of each
            image below its folder. If it is given, the layout is ``pattern``.
        cameras: ``use``, the protocol of published scores: images of the query's person from the query's camera are
            left out. ``ignore`` if there are no cameras; then no camids are needed.
        architecture: the architecture of files; None to detect it.
        distance: ``euclidean``, ``cosine`` or ``both``. None for the distance of the checkpoint. A file that is not
            in the zoo has the distance of its architecture.
        thresholds: True to find the distances that decide whether two images show the same person.
        rerank: True to apply k-reciprocal re-ranking.
        device: the device; None for the GPU if there is one, else the CPU.
        precision: see `reidhub.embedder`.
        batch: images per batch; None for a number that suits the device.

    Returns:
        For each checkpoint one `RetrievalScores` for each distance; scores are percentages.

    Raises:
        UnknownCheckpointError: a selector matches nothing, or there is no such file.
        WeightsError: a file does not hold exactly the weights of one architecture.
        DatasetError: the images are not in this layout; the message says what was found.
        EvaluationError: a checkpoint could not be measured: no query has a match, an image cannot be decoded, or no
            source gave the file.
        UsageError: an argument has another value.
    """
    images = OwnImages(
        layout="pattern" if pattern is not None else layout,
        data=_make_path(data),
        query=_make_path(query),
        gallery=_make_path(gallery),
        pattern=pattern,
        cameras=cameras,
    )
    choices = Choices(architecture, distance, thresholds)
    settings = {"batch_size": batch, "precision": precision, "rerank": rerank}
    run = OwnDataRun.of(_list(model), images, find_device(device), choices, **settings)
    cache = Cache()
    with open_journal(choose_folder(cache.root, run.plan, run.settings)) as journal:
        reports = run.measure(journal, cache)
        if failed := reports[0].not_measured:
            reasons = "\n  ".join(f"{result.job.checkpoint.name}: {result.reason}" for result in failed)
            raise EvaluationError(reasons, hint=failed[0].hint)
        scores = run.list_scores(reports, journal)
        journal.discard()
    return scores


def _list(selectors: Selectors) -> list[Selector]:
    return [selectors] if isinstance(selectors, str | os.PathLike) else list(selectors)


def _make_path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)
