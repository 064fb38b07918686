"""Ranks the images of a gallery by their distance from each query."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reidhub.errors import EvaluationError, UsageError
from reidhub.inference.boxes import Box
from reidhub.metrics.inputs import Distance, Embeddings
from reidhub.metrics.nearest import NearestSearch
from reidhub.metrics.reranking import Reranker, Reranking
from reidhub.retrieval.marks import Mark, mark_image
from reidhub.retrieval.tables import Part

RERANKED = 100_000
"""Largest number of queries and gallery images together that can be re-ranked: time grows with its square."""

_BLOCK = 8192  # gallery images that are searched together; parts may be smaller
_SPARE = 10_000  # names that may be remembered after their images are no longer among the nearest


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An image of the gallery in the ranking of a query.

    Args:
        place: place in the ranking, from 1.
        path: path of the image, or of the frame that the box is cut out of.
        box: left, top, right and bottom edge in pixels of the frame; None for a whole image.
        distance: distance from the query.
        mark: whether it shows the person of the query, see `Mark`; None if the names of the files do not tell.
    """

    place: int
    path: str
    box: Box | None
    distance: float
    mark: Mark | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """A query, and the images of the gallery that are nearest to it.

    Args:
        query: path of the query.
        images: the images, nearest first; those at the same distance are in gallery order.
        in_gallery: the query itself is in the gallery. It is left out of ``images``.
    """

    query: str
    images: tuple[Neighbour, ...]
    in_gallery: bool = False

    @property
    def is_marked(self) -> bool:
        """True if the names of the files tell the mark of an image."""
        return any(image.mark for image in self.images)

    @property
    def first_right_place(self) -> int | None:
        """The place of the first right image; None if none of ``images`` is right."""
        return next((image.place for image in self.images if image.mark == "right"), None)


def sort_worst_first(rankings: Sequence[Ranking]) -> list[Ranking]:
    """Sort rankings, the worst first; equally bad ones stay in their order.

    If the names of the files tell who is right, a ranking is worse if its first right image comes later, and worst if
    it has none. Otherwise, or between rankings that are equal in this, it is worse if its nearest image is further
    away.
    """
    marked = any(ranking.is_marked for ranking in rankings)

    def badness(ranking: Ranking) -> tuple[float, float]:
        place = ranking.first_right_place if marked else 0
        nearest = ranking.images[0].distance if ranking.images else float("inf")
        return float("inf") if place is None else place, nearest

    return sorted(rankings, key=badness, reverse=True)


@dataclass(frozen=True, slots=True)
class Ranker:
    """Ranks a gallery that comes in parts.

    Args:
        paths: paths of the queries.
        embeddings: float32 (Q, D) of the queries, on the device that computes.
        top: number of images for each query, above 0.
        distance: the distance.
    """

    paths: Sequence[str]
    embeddings: Tensor
    top: int
    distance: Distance

    def rank(self, parts: Iterable[Part]) -> list[Ranking]:
        """Rank the gallery by distance; memory does not grow with the gallery.

        A query that is itself in the gallery, as a whole image with the same path, is left out of its own ranking.

        Raises:
            EvaluationError: embeddings are not finite, or have another dimension.
        """
        search = NearestSearch(self.embeddings, self.top, self.distance)
        names = _Names()
        own = _OwnImages(self.paths)
        for block in _join(parts):
            names.add(block)
            pairs = own.find(block)
            rows = torch.from_numpy(block.embeddings).to(self.embeddings.device)
            search.add(rows, torch.tensor(pairs, device=rows.device) if pairs else None)
            names.forget_all_but(search.places)
        return self._list(search.distances, search.places, names, own)

    def rerank(self, parts: Iterable[Part]) -> list[Ranking]:
        """Rank the gallery by k-reciprocal re-ranking, which needs the whole gallery in memory.

        Raises:
            UsageError: the gallery is too large, or one of the queries is in it.
        """
        names, own, rows = _Names(), _OwnImages(self.paths), []
        for part in parts:
            names.add(part)
            check_reranking(len(self.paths) + names.count)
            if pairs := own.find(part):
                raise UsageError(
                    f"re-ranking needs queries that are not in the gallery; the gallery has {self.paths[pairs[0][0]]}",
                    hint="leave out --rerank, or give another gallery",
                )
            rows.append(part.embeddings)
        if not rows:
            return self._list(torch.empty(len(self.paths), 0), torch.empty(len(self.paths), 0), names, own)
        gallery = torch.from_numpy(np.concatenate(rows)).to(self.embeddings.device)
        found = [
            distances.sort(dim=1, stable=True)
            for _, distances in Reranker(Embeddings(self.embeddings, gallery, self.distance), Reranking()).tiles()
        ]
        distances, places = (torch.cat([part[:, : self.top] for part in parts]) for parts in zip(*found, strict=True))
        return self._list(distances, places, names, own)

    def _list(self, distances: Tensor, places: Tensor, names: "_Names", own: "_OwnImages") -> list[Ranking]:
        """Make the rankings from distances (Q, k) and indices in the gallery (Q, k), which are -1 for no image."""
        rankings = []
        for number, query in enumerate(self.paths):
            found = zip(distances[number].tolist(), places[number].tolist(), strict=True)
            images = [
                Neighbour(place, *names.images[index], distance, mark_neighbour(query, *names.images[index]))
                for place, (distance, index) in enumerate(found, 1)
                if index >= 0
            ]
            rankings.append(Ranking(query, tuple(images), number in own.found))
        return rankings


def check_reranking(images: int) -> None:
    """Check that queries and gallery together have few enough images for re-ranking.

    Raises:
        UsageError: they are too many.
    """
    if images > RERANKED:
        raise UsageError(
            f"re-ranking compares all images with each other, and takes at most {RERANKED:,}, queries included; got "
            f"{images:,} or more",
            hint="leave out --rerank, or give a smaller gallery",
        )


def mark_neighbour(query: str, path: str, box: Box | None) -> Mark | None:
    """Return the mark of an image of the gallery; None for a box, whose person is not in the name of the frame."""
    return mark_image(query, path) if box is None else None


class _Names:
    """The names of the gallery images that are among the nearest.

    Attributes:
        count: number of gallery images so far.
        images: index of an image -> its path and its box.
    """

    def __init__(self) -> None:
        self.count = 0
        self.images: dict[int, tuple[str, Box | None]] = {}

    def add(self, part: Part) -> None:
        self.images.update(enumerate(zip(part.paths, part.boxes, strict=True), self.count))
        self.count += len(part)

    def forget_all_but(self, places: Tensor) -> None:
        """Forget the images that are not in ``places``, if many images are remembered."""
        if len(self.images) > places.numel() + _SPARE:
            kept = set(places.flatten().tolist())
            self.images = {index: name for index, name in self.images.items() if index in kept}


class _OwnImages:
    """Finds the queries in the gallery.

    Attributes:
        found: numbers of the queries that were found.
    """

    def __init__(self, queries: Sequence[str]) -> None:
        self.found: set[int] = set()
        self._by_name: dict[str, list[int]] = {}
        self._real = [os.path.realpath(query) for query in queries]
        for number, paths in enumerate(zip(queries, self._real, strict=True)):
            for name in {path.rpartition(os.sep)[2] for path in paths}:
                self._by_name.setdefault(name, []).append(number)

    def find(self, part: Part) -> list[tuple[int, int]]:
        """Return the pairs of a query and its own image in a part, as indices; a box is never a query's own image."""
        pairs = []
        for row, path in enumerate(part.paths):
            numbers = self._by_name.get(path.rpartition(os.sep)[2])
            if numbers and part.boxes[row] is None:
                real = os.path.realpath(path)
                pairs += [(number, row) for number in numbers if self._real[number] == real]
        self.found.update(number for number, _ in pairs)
        return pairs


def _join(parts: Iterable[Part]) -> Iterator[Part]:
    """Join small parts to blocks of about `_BLOCK` images, whose embeddings are writable."""
    waiting: list[Part] = []
    for part in parts:
        if waiting and part.embeddings.shape[1] != waiting[0].embeddings.shape[1]:
            shapes = f"{waiting[0].embeddings.shape[1]} and {part.embeddings.shape[1]}"
            raise EvaluationError(f"expected gallery embeddings of one dimension, got {shapes}")
        waiting.append(part)
        if sum(map(len, waiting)) >= _BLOCK:
            yield _concatenate(waiting)
            waiting = []
    if waiting:
        yield _concatenate(waiting)


def _concatenate(parts: Sequence[Part]) -> Part:
    return Part(
        [path for part in parts for path in part.paths],
        [box for part in parts for box in part.boxes],
        [label for part in parts for label in part.ids],
        np.concatenate([part.embeddings for part in parts]),
    )
