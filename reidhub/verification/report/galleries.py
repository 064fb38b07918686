"""The queries that went best and worst, each with the images the gallery was ranked in for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from reidhub.datasets import Record, RetrievalSet
from reidhub.metrics.distances import DistanceMatrix
from reidhub.metrics.inputs import Distance, Embeddings
from reidhub.metrics.reranking import Reranker, Reranking
from reidhub.verification.export_embeddings import read_embeddings, read_records
from reidhub.verification.journal import Journal
from reidhub.verification.results import Conditions, Measurement, Report
from reidhub.verification.settings import Settings

Mark = Literal["right", "wrong", "same camera"]
MARKS: tuple[Mark, ...] = get_args(Mark)

_QUERIES = 3  # of the best, and of the worst
_RANKS = 10
_IMAGES = 20


@dataclass(frozen=True, slots=True)
class RankedImage:
    """A gallery image in its place.

    Args:
        record: the image.
        distance: from the query, as it was ranked by.
        mark: ``right`` has the query's pid, and ``same camera`` its camera too: that one does not count.
        rank: from 1, among all that count; None where it does not.
    """

    record: Record
    distance: float
    mark: Mark
    rank: int | None


@dataclass(frozen=True, slots=True)
class RankedQuery:
    """A query and what was found for it.

    Args:
        record: the image.
        place: in the dataset's queries, from 0.
        average_precision: in [0, 1].
        first_match_rank: of the nearest image that is right, from 1.
        images: the nearest in order, until ten count or twenty are shown; behind them the nearest right one, where it
            is further away.
    """

    record: Record
    place: int
    average_precision: float
    first_match_rank: int
    images: tuple[RankedImage, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """The queries of one result that are shown.

    Args:
        root: folder that names of images are told from.
        best: highest average precision first; equal ones in the order of the dataset.
        worst: lowest first; none that is among the best.
    """

    root: Path
    best: tuple[RankedQuery, ...]
    worst: tuple[RankedQuery, ...]

    @property
    def images(self) -> Iterator[Record]:
        """Every image of a person that it shows, as often as it does."""
        for query in (*self.best, *self.worst):
            yield query.record
            yield from (image.record for image in query.images)

    def name_of(self, record: Record) -> str:
        """The path of an image below the root, with forward slashes."""
        return record.path.relative_to(self.root).as_posix()


Key = tuple[str, str]
"""Checkpoint and dataset: what tells results apart."""


def galleries_of(report: Report, journal: Journal, settings: Settings) -> dict[Key, Gallery]:
    """The queries to show of each retrieval that was measured.

    Args:
        report: what a run found.
        journal: of that run; has its embeddings.
        settings: of that run.

    Raises:
        DatasetError: a dataset has changed since it was measured on.
    """
    galleries: dict[Key, Gallery] = {}
    read: dict[str, RetrievalSet] = {}
    for result in report.measured:
        if not result.is_retrieval:
            continue
        name, dataset = result.job.key
        data = read.get(dataset) or read_records(result, settings)
        read[dataset] = data
        query, gallery = (part.to(settings.device) for part in read_embeddings(result, journal))
        galleries[name, dataset] = rank_gallery((query, gallery), data, result.measurement, result.conditions)
    return galleries


def rank_gallery(
    embeddings: tuple[Tensor, Tensor], data: RetrievalSet, measurement: Measurement, conditions: Conditions
) -> Gallery:
    """Rank the gallery once more for the best and the worst queries of a retrieval.

    Args:
        embeddings: float32 (Q, D) of the queries and (G, D) of the gallery, as the model gave them.
        data: the records they are of.
        measurement: says which queries went best and worst.
        conditions: under which it was counted.
    """
    if conditions.normalize:
        embeddings = normalize(embeddings[0]), normalize(embeddings[1])
    best, worst = _extremes(measurement)
    measured = Embeddings(*embeddings, cast(Distance, conditions.distance))
    places = [*best, *worst]
    rows = dict(zip(places, _distances(measured, places, rerank=conditions.rerank), strict=True))

    def ranked(places: Sequence[int]) -> tuple[RankedQuery, ...]:
        return tuple(_ranked(place, rows[place], data, measurement) for place in places)

    return Gallery(data.root, ranked(best), ranked(worst))


def _extremes(measurement: Measurement) -> tuple[list[int], list[int]]:
    """Places of the best and of the worst queries."""
    precision = measurement.average_precision
    scored = [place for place, rank in enumerate(measurement.first_match_rank) if rank > 0]
    best = sorted(scored, key=lambda place: (-precision[place], place))[:_QUERIES]
    rest = set(scored) - set(best)
    return best, sorted(rest, key=lambda place: (precision[place], place))[:_QUERIES]


def _distances(embeddings: Embeddings, places: Sequence[int], *, rerank: bool) -> Iterator[Tensor]:
    """Distances (G,) of queries to the whole gallery, computed as `evaluate` computes them."""
    if rerank:
        queries = torch.tensor(places, device=embeddings.query.device)
        return iter(Reranker(embeddings, Reranking()).distances(queries).cpu())
    matrix = DistanceMatrix(embeddings)
    return (matrix.row(place).cpu() for place in places)


def _ranked(place: int, distances: Tensor, data: RetrievalSet, measurement: Measurement) -> RankedQuery:
    query, first = data.query[place], measurement.first_match_rank[place]
    shown: list[RankedImage] = []
    counted, found = 0, False
    for image in _in_order(query, distances, data.gallery):
        is_first = image.mark == "right" and not found
        if (counted < _RANKS and len(shown) < _IMAGES) or is_first:
            shown.append(image)
        counted, found = image.rank or counted, found or is_first
        if found and counted >= _RANKS:
            break
    return RankedQuery(query, place, measurement.average_precision[place], first, tuple(shown))


def _in_order(query: Record, distances: Tensor, gallery: Sequence[Record]) -> Iterator[RankedImage]:
    """The whole gallery, nearest first; equal distances rank in gallery order."""
    rank = 0
    for column in distances.argsort(stable=True).tolist():
        mark = _mark(query, gallery[column])
        rank += mark != "same camera"
        distance = max(0.0, float(distances[column]))  # rounding can make it negative
        yield RankedImage(gallery[column], distance, mark, None if mark == "same camera" else rank)


def _mark(query: Record, image: Record) -> Mark:
    if image.pid != query.pid:
        return "wrong"
    return "same camera" if image.camid == query.camid else "right"
