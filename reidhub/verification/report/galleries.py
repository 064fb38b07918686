"""The best and the worst queries of a retrieval, each with the gallery images nearest to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn.functional import normalize

from reidhub.datasets import Record, RetrievalSet, name_image
from reidhub.metrics.distances import DistanceMatrix
from reidhub.metrics.inputs import Distance, Embeddings
from reidhub.metrics.reranking import Reranker, Reranking
from reidhub.verification.export_embeddings import read_embeddings, read_records
from reidhub.verification.journal import Journal
from reidhub.verification.measurement import Measurement
from reidhub.verification.plan import JobKey
from reidhub.verification.results import Conditions, Report
from reidhub.verification.settings import Settings

Mark = Literal["right", "wrong", "same camera"]

_QUERIES = 3  # number of best queries; as many worst queries are shown
_RANKS = 10  # number of images with a rank that are shown for each query
_IMAGES = 20  # largest number of images that are shown for each query


@dataclass(frozen=True, slots=True)
class RankedImage:
    """A gallery image in the ranking of one query.

    Args:
        record: the gallery image.
        distance: distance from the query, by which the gallery is ranked.
        mark: ``right``: the image has the query's pid. ``wrong``: it has another pid. ``same camera``: it has the
            query's pid and camera, and is left out of the scores. If cameras are ignored, it is ``right``.
        rank: rank from 1. Images with the mark ``same camera`` have the rank None and are not counted.
    """

    record: Record
    distance: float
    mark: Mark
    rank: int | None


@dataclass(frozen=True, slots=True)
class RankedQuery:
    """A query and the gallery images nearest to it.

    Args:
        record: the image of the query.
        place: index of the query in the dataset, from 0.
        average_precision: average precision of the query, in [0, 1].
        first_match_rank: rank of the nearest right image, from 1.
        images: the nearest gallery images, nearest first. The list ends after ten images with a rank, or after twenty
            images. If the nearest right image is further away, it is added at the end.
    """

    record: Record
    place: int
    average_precision: float
    first_match_rank: int
    images: tuple[RankedImage, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """The best and the worst queries of one retrieval, which a report shows.

    Args:
        root: the folder of the dataset; the names of images are paths relative to this folder.
        best: the queries with the highest average precision, highest first; ties are in the order of the dataset.
        worst: the queries with the lowest average precision, lowest first, without queries that are in ``best``.
    """

    root: Path
    best: tuple[RankedQuery, ...]
    worst: tuple[RankedQuery, ...]

    @property
    def images(self) -> Iterator[Record]:
        """The records of all images that are shown. An image that is shown twice is yielded twice."""
        for query in (*self.best, *self.worst):
            yield query.record
            yield from (image.record for image in query.images)

    def get_name(self, record: Record) -> str:
        """Return the path of an image below the root; see `name_image`."""
        return name_image(record.path, self.root)


def make_galleries(report: Report, journal: Journal, settings: Settings) -> dict[JobKey, Gallery]:
    """Choose the best and the worst queries of each retrieval, and rank the gallery for each of them.

    Args:
        report: the results of a run.
        journal: the journal of that run, which has the embeddings.
        settings: the settings of that run.

    Raises:
        DatasetError: a dataset has changed since the measurement.
    """
    galleries: dict[JobKey, Gallery] = {}
    datasets: dict[str, RetrievalSet] = {}
    for result in report.measured:
        if not result.is_retrieval:
            continue
        name = result.job.dataset
        if name not in datasets:
            datasets[name] = read_records(result, settings)
        query, gallery = (part.to(settings.device) for part in read_embeddings(result, journal))
        shown = rank_gallery((query, gallery), datasets[name], result.measurement, result.conditions)
        galleries[result.job.key] = shown
    return galleries


def rank_gallery(
    embeddings: tuple[Tensor, Tensor], data: RetrievalSet, measurement: Measurement, conditions: Conditions
) -> Gallery:
    """Choose the best and the worst queries of a retrieval, and rank the gallery for each of them.

    The gallery must be ranked again, because the journal has no rankings.

    Args:
        embeddings: float32 (Q, D) of the queries and (G, D) of the gallery, as the model computed them.
        data: the query and gallery records, in the order of the embeddings.
        measurement: has the average precision and the rank of the nearest match of each query.
        conditions: how the retrieval was measured.
    """
    if conditions.normalize:
        embeddings = normalize(embeddings[0]), normalize(embeddings[1])
    best, worst = _choose_queries(measurement)
    places = [*best, *worst]
    measured = Embeddings(*embeddings, cast(Distance, conditions.distance))
    distances = _compute_distances(measured, places, rerank=conditions.rerank)
    ignore = conditions.cameras == "ignore"
    queries = [
        _rank_query(place, row, data, measurement, ignore_cameras=ignore)
        for place, row in zip(places, distances, strict=True)
    ]
    return Gallery(data.root, tuple(queries[: len(best)]), tuple(queries[len(best) :]))


def _choose_queries(measurement: Measurement) -> tuple[list[int], list[int]]:
    """Choose the best and the worst queries, and return their indices among all queries."""
    precision = measurement.average_precision
    scored = [place for place, rank in enumerate(measurement.first_match_rank) if rank > 0]
    best = sorted(scored, key=lambda place: (-precision[place], place))[:_QUERIES]
    rest = set(scored) - set(best)
    return best, sorted(rest, key=lambda place: (precision[place], place))[:_QUERIES]


def _compute_distances(embeddings: Embeddings, places: Sequence[int], *, rerank: bool) -> Iterator[Tensor]:
    """Compute the same distances as `evaluate`, but only for some queries.

    Args:
        embeddings: embeddings of all queries and of the gallery.
        places: indices of the chosen queries.
        rerank: True to compute re-ranked distances.

    Returns:
        For each chosen query, the distances (G,) to the whole gallery, on the CPU.
    """
    if rerank:
        queries = torch.tensor(places, device=embeddings.query.device)
        return iter(Reranker(embeddings, Reranking()).distances(queries).cpu())
    matrix = DistanceMatrix(embeddings)
    return (matrix.row(place).cpu() for place in places)


def _rank_query(
    place: int, distances: Tensor, data: RetrievalSet, measurement: Measurement, *, ignore_cameras: bool
) -> RankedQuery:
    """Rank the gallery for one query, and choose the gallery images to show; see `RankedQuery`.

    Args:
        place: index of the query in ``data.query``.
        distances: float32 (G,), the distances to the whole gallery, on the CPU.
        data: the query and gallery records.
        measurement: has the average precision and the rank of the nearest match of each query.
        ignore_cameras: True if images from the query's camera are scored too.
    """
    query, first = data.query[place], measurement.first_match_rank[place]
    shown: list[RankedImage] = []
    counted, found = 0, False
    for image in _order_gallery(query, distances, data.gallery, ignore_cameras=ignore_cameras):
        is_first = image.mark == "right" and not found
        if (counted < _RANKS and len(shown) < _IMAGES) or is_first:
            shown.append(image)
        counted, found = image.rank or counted, found or is_first
        if found and counted >= _RANKS:
            break
    return RankedQuery(query, place, measurement.average_precision[place], first, tuple(shown))


def _order_gallery(
    query: Record, distances: Tensor, gallery: Sequence[Record], *, ignore_cameras: bool
) -> Iterator[RankedImage]:
    """Yield the whole gallery, nearest image first; images at the same distance keep the gallery's order."""
    rank = 0
    for column in distances.argsort(stable=True).tolist():
        mark = _mark(query, gallery[column], ignore_cameras=ignore_cameras)
        rank += mark != "same camera"
        distance = max(0.0, float(distances[column]))  # rounding can give a negative distance
        yield RankedImage(gallery[column], distance, mark, None if mark == "same camera" else rank)


def _mark(query: Record, image: Record, *, ignore_cameras: bool) -> Mark:
    if image.pid != query.pid:
        return "wrong"
    return "same camera" if image.camid == query.camid and not ignore_cameras else "right"
