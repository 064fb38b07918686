"""One run of `reidhub.rank`: embed the queries, rank the gallery, and report what could not be read."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Self, cast, get_args

import torch

from reidhub.errors import UsageError
from reidhub.inference import Embedder
from reidhub.metrics.inputs import DISTANCES, Distance
from reidhub.retrieval.embedding_model import EmbeddingModel
from reidhub.retrieval.galleries import Gallery, ImageEmbedder, list_images
from reidhub.retrieval.ranking import Ranker, Ranking, check_reranking, sort_worst_first

Order = Literal["given", "worst"]
"""The order of the queries: as given, or worst first; see `sort_worst_first`."""

OpenProgress = Callable[[int], AbstractContextManager[Callable[[int], object]]]
"""A function that shows the progress during a ``with`` block; it gets the number of images."""


@dataclass(frozen=True, slots=True)
class RankChoices:
    """How to rank.

    Args:
        top: number of images for each query.
        distance: ``euclidean`` (squared) or ``cosine``; None for the distance of the checkpoint.
        rerank: rank by k-reciprocal re-ranking.
        order: order of the queries.

    Raises:
        UsageError: a value is not allowed.
    """

    top: int = 10
    distance: str | None = None
    rerank: bool = False
    order: str = "given"

    def __post_init__(self) -> None:
        if not isinstance(self.top, int) or self.top < 1:
            raise UsageError(f"top is a whole number above 0, got {self.top!r}")
        if self.distance not in (None, *DISTANCES):
            raise UsageError(f"a distance is {' or '.join(DISTANCES)}, got {self.distance!r}")
        if self.order not in get_args(Order):
            raise UsageError(f"an order is {' or '.join(get_args(Order))}, got {self.order!r}")


@dataclass(frozen=True, slots=True)
class RankReport:
    """The result of a run of `reidhub.rank`.

    Args:
        rankings: one ranking for each readable query, in the order that was asked for.
        unreadable: path -> reason, for queries and gallery images that could not be read.
        model: the model.
        distance: the distance that was used.
        choices: how the gallery was ranked.
    """

    rankings: list[Ranking]
    unreadable: dict[str, str]
    model: EmbeddingModel
    distance: Distance
    choices: RankChoices

    @property
    def order(self) -> str:
        """The order of the queries, in words."""
        if self.choices.order == "given":
            return "queries in the order given"
        if any(ranking.is_marked for ranking in self.rankings):
            return "worst queries first: a query is worse if its first right image comes later"
        return "worst queries first: a query is worse if its nearest image is further away"


@dataclass(frozen=True, slots=True)
class RankJob:
    """One run of `reidhub.rank`.

    Args:
        queries: paths of the query images.
        gallery: the images to rank.
        choices: how to rank.
    """

    queries: list[str]
    gallery: Gallery
    choices: RankChoices

    @classmethod
    def of(cls, queries: Iterable[str], gallery: str, choices: RankChoices) -> Self:
        """List the images; no image is opened.

        Args:
            queries: image files and folders.
            gallery: a folder of images, or the folder of an earlier `reidhub embed`.
            choices: how to rank.

        Raises:
            DatasetError: a file or folder does not exist, or a folder has no images.
            UsageError: there is no query; or the gallery is a file, too large for re-ranking, or not embedded yet.
        """
        images = list(dict.fromkeys(image for path in queries for image in list_images(path)))
        if not images:
            raise UsageError("no query was given")
        found = Gallery.find(gallery)
        if choices.rerank:
            check_reranking(len(images) + found.size)
        return cls(images, found, choices)

    def run(self, make_model: Callable[[], tuple[Embedder, EmbeddingModel]], open_progress: OpenProgress) -> RankReport:
        """Embed the queries and, if needed, the gallery, and rank.

        Args:
            make_model: loads the model, and describes it.
            open_progress: shows the progress.

        Raises:
            UsageError: the gallery has embeddings of another model, or re-ranking is not possible.
            DatasetError: a file of embeddings cannot be read.
        """
        embedder, model = make_model()
        self.gallery.check_model(model)
        distance = cast(Distance, self.choices.distance or model.distance)
        with open_progress(len(self.queries) + self.gallery.size) as advance:
            images = ImageEmbedder(embedder, advance, {})
            queries = images.embed(self.queries)
            rankings: list[Ranking] = []
            if len(queries):
                device = torch.device("cpu") if embedder.device.type == "mps" else embedder.device  # MPS: no float64
                rows = torch.from_numpy(queries.embeddings).to(device)
                ranker = Ranker(queries.paths, rows, self.choices.top, distance)
                rank = ranker.rerank if self.choices.rerank else ranker.rank
                rankings = rank(self.gallery.parts(images))
        if self.choices.order == "worst":
            rankings = sort_worst_first(rankings)
        return RankReport(rankings, images.unreadable, model, distance, self.choices)
