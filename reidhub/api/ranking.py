"""The public function that ranks a gallery for query images."""

import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Literal

from reidhub.api import ModelName
from reidhub.api.retrieval import Inputs, ModelChoice, list_given, open_bar
from reidhub.errors import DatasetError, UsageError

if TYPE_CHECKING:
    import torch

    from reidhub.inference import Precision
    from reidhub.metrics.inputs import Distance
    from reidhub.retrieval.rank_job import Order
    from reidhub.retrieval.ranking import Ranking

_log = logging.getLogger(__name__)


def rank(
    model: ModelName,
    queries: Inputs,
    gallery: str | os.PathLike[str],
    dataset: str | None = None,
    *,
    top: int = 10,
    distance: "Distance | None" = None,
    rerank: bool = False,
    order: "Order" = "given",
    on_error: Literal["raise", "skip"] = "raise",
    architecture: str | None = None,
    device: "torch.device | str | None" = None,
    precision: "Precision" = "fp32",
    batch: int | None = None,
) -> "list[Ranking]":
    """Find the nearest images of a gallery for each query, exactly, as ``reidhub rank`` does.

    An example::

        for ranking in reidhub.rank("osnet_x1_0.msmt17", "query.jpg", "gallery"):
            for image in ranking.images:
                print(image.place, image.path, image.distance)

    The gallery is searched in parts, so memory does not grow with it. Images at the same distance are in gallery order.

    Args:
        model: a full name, a model's name, the path of a file, or another form that `reidhub.embedder` takes.
        queries: an image file, a folder of images, or a list of these. A query that is in the gallery too is left
            out of its own ranking.
        gallery: a folder of images, which are embedded now; or the folder of an earlier `reidhub.embed` with the same
            model and precision.
        dataset: the training data, if ``model`` is a model's name.
        top: number of images for each query.
        distance: ``euclidean`` (squared) or ``cosine``; None for the distance of the checkpoint.
        rerank: rank by k-reciprocal re-ranking. The whole gallery must fit into memory, and the time grows with the
            square of its size. At most 100,000 images, queries included.
        order: order of the queries: ``given``, or ``worst`` first. Where the names of the files tell who is right, a
            query is worse if its first right image comes later. Otherwise, it is worse if its nearest image is further
            away.
        on_error: what happens if an image cannot be read: ``raise`` raises an error after all images were tried;
            ``skip`` leaves it out, with a warning in the log.
        architecture: the architecture of a file; None to detect it.
        device: the device; None for the GPU if there is one, else the CPU.
        precision: how the model computes; see `reidhub.embedder`.
        batch: number of images in a batch; None for a number that suits the device.

    Returns:
        One ranking for each query that can be read.

    Raises:
        DatasetError: an image or folder is missing, or an image cannot be read and ``on_error`` is ``raise``.
        UsageError: the gallery has embeddings of another model or precision, or is too large for re-ranking; or an
            argument has a value that is not allowed.
        UnknownCheckpointError: no checkpoint matches.
        FetchError: no source gave the checkpoint's file.
        WeightsError: the checkpoint's file does not hold the weights of this architecture.
    """
    if on_error not in ("raise", "skip"):
        raise UsageError(f"on_error is 'raise' or 'skip', got {on_error!r}")
    from reidhub.retrieval.rank_job import RankChoices, RankJob

    choice = ModelChoice(model, dataset, architecture, device, precision, batch)
    choice.check()  # before the images are listed
    job = RankJob.of(list_given(queries), os.fspath(gallery), RankChoices(top, distance, rerank, order))
    report = job.run(choice.make, partial(open_bar, "rank"))
    if report.unreadable and on_error == "raise":
        raise DatasetError(next(iter(report.unreadable.values())), hint='on_error="skip" leaves such images out')
    for reason in report.unreadable.values():
        _log.warning("image skipped: %s", reason)
    return report.rankings
