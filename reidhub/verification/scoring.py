"""Computes the scores of a retrieval from its embeddings, or of a classification from the best classes."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from reidhub.datasets import ClassificationSet, RetrievalSet
from reidhub.metrics import Evaluation, evaluate
from reidhub.metrics.inputs import Distance
from reidhub.verification.measurement import Measurement
from reidhub.verification.movable_embedder import BEST_CLASSES
from reidhub.verification.settings import Settings


def score_retrieval(rows: Tensor, data: RetrievalSet, distance: Distance, settings: Settings) -> Measurement:
    """Compute CMC, mAP and mINP of a retrieval.

    Args:
        rows: float32 embeddings (Q + G, D): first the queries, then the gallery; (G, D) if each image is left out once.
        data: the dataset.
        distance: the distance of two embeddings.
        settings: the settings of the run.

    Raises:
        EvaluationError: an embedding is not finite, or no query has a match.
    """
    rows = rows.to(settings.device)
    if settings.normalize:
        rows = normalize(rows)
    query, gallery = (rows, rows) if data.leave_one_out else (rows[: len(data.query)], rows[len(data.query) :])
    labels = read_labels(data)
    found = evaluate(query, gallery, *labels, distance, rerank=settings.rerank, cameras=settings.cameras)
    return make_measurement(found, rows.shape[1])


def make_measurement(found: Evaluation, dimensions: int) -> Measurement:
    """Make the measurement of a retrieval from its scores.

    Args:
        found: the scores.
        dimensions: number of values in an embedding.
    """
    return Measurement(
        first_match_rank=tuple(found.first_match_rank.tolist()),
        average_precision=tuple(found.average_precision.tolist()),
        inverse_negative_penalty=tuple(found.inverse_negative_penalty.tolist()),
        queries=found.num_valid_queries,
        hits=tuple(found.hits.tolist()),
        mAP=found.mAP,
        mINP=found.mINP,
        dimensions=dimensions,
    )


def score_classification(rows: Tensor, data: ClassificationSet, dimensions: int) -> Measurement:
    """Compute top-1 to top-5 accuracy of a classification.

    Args:
        rows: float32 (N, 5): the indices of the five best classes of each image, best first.
        data: the dataset.
        dimensions: number of values in an embedding of the model.
    """
    labels = torch.tensor([image.label for image in data.images])
    right = rows.long() == labels[:, None]
    ranks = torch.where(right.any(1), 1 + right.int().argmax(1), 0)
    hits = tuple(int(((ranks > 0) & (ranks <= place)).sum()) for place in range(1, BEST_CLASSES + 1))
    return Measurement(tuple(ranks.tolist()), (), (), len(ranks), hits, None, None, dimensions)


def read_labels(data: RetrievalSet) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the pids of the queries, the pids of the gallery, and the camids of both, as int64 tensors."""
    query_pids, gallery_pids = (torch.tensor([r.pid for r in split]) for split in (data.query, data.gallery))
    query_camids, gallery_camids = (torch.tensor([r.camid for r in split]) for split in (data.query, data.gallery))
    return query_pids, gallery_pids, query_camids, gallery_camids
