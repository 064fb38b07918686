"""Measures checkpoints on images of the user, for which no scores are published."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, cast, get_args

import torch

from reidhub.cache.store import Cache
from reidhub.datasets import RetrievalSet
from reidhub.datasets.own_images import OwnImages, read_own_images
from reidhub.errors import UsageError
from reidhub.metrics import Thresholds, find_thresholds
from reidhub.metrics.inputs import DISTANCES, Distance
from reidhub.verification.export_embeddings import read_embeddings
from reidhub.verification.journal import Journal
from reidhub.verification.plan import Job, Plan, Selection, Selector
from reidhub.verification.results import Measured, Report
from reidhub.verification.run import verify
from reidhub.verification.scoring import read_labels
from reidhub.verification.settings import Settings
from reidhub.zoo.manifest import zoo

if TYPE_CHECKING:
    from reidhub.metrics.inputs import Cameras


@dataclass(frozen=True, slots=True)
class RetrievalScores:
    """The scores of one checkpoint with one distance.

    Args:
        checkpoint: name of the checkpoint, or path of a file that is not in the zoo.
        architecture: name of the architecture.
        sha256: sha256 of the checkpoint's file, in hex.
        dataset: name of the folder or file that has the images.
        distance: ``euclidean`` or ``cosine``.
        queries: number of queries with a match in the gallery; all scores are means over these queries.
        skipped: number of queries without a match.
        gallery: number of gallery images.
        leave_one_out: True if each image was a query, with all other images as its gallery.
        cameras: ``ignore`` if images from the camera of a query counted too; published scores use ``use``.
        rank1: percentage of the queries whose nearest image is a match.
        rank5: percentage of the queries with a match among the five nearest images.
        rank10: percentage of the queries with a match among the ten nearest images.
        mAP: mean average precision, a percentage.
        mINP: mean inverse negative penalty, a percentage.
        thresholds: distances that decide whether two images show the same person; None if they were not asked for.
    """

    checkpoint: str
    architecture: str
    sha256: str
    dataset: str
    distance: Distance
    queries: int
    skipped: int
    gallery: int
    leave_one_out: bool
    cameras: "Cameras"
    rank1: float
    rank5: float
    rank10: float
    mAP: float
    mINP: float
    thresholds: Thresholds | None


@dataclass(frozen=True, slots=True)
class Choices:
    """The user's choices for a measurement.

    Args:
        architecture: the architecture of files; None to detect it.
        distance: ``euclidean``, ``cosine`` or ``both``; None for the distance of each checkpoint in the manifest.
        thresholds: True to find the thresholds too.

    Raises:
        UsageError: the distance is not known.
    """

    architecture: str | None = None
    distance: str | None = None
    thresholds: bool = False

    def __post_init__(self) -> None:
        if self.distance not in (None, "both", *DISTANCES):
            raise UsageError(f"a distance is {', '.join(DISTANCES)} or both, got {self.distance!r}")

    @property
    def distances(self) -> tuple[Distance | None, ...]:
        """The distances; None stands for the distance of each checkpoint."""
        return get_args(Distance) if self.distance == "both" else (cast(Distance | None, self.distance),)


@dataclass(frozen=True, slots=True)
class OwnDataRun:
    """A measurement of checkpoints on images of the user.

    Args:
        selection: the checkpoints.
        data: the images.
        settings: how to measure.
        choices: what to measure.
    """

    selection: Selection
    data: RetrievalSet
    settings: Settings
    choices: Choices

    @classmethod
    def of(
        cls, models: Sequence[Selector], images: OwnImages, device: torch.device, choices: Choices, **settings: Any
    ) -> Self:
        """Read the list of images, and find the checkpoints.

        Args:
            models: names of checkpoints or models, or paths of files.
            images: where the images are.
            device: the device.
            choices: what to measure.
            settings: values for fields of `Settings`.

        Raises:
            DatasetError: the images are not in this layout.
            UnknownCheckpointError: a selector matches nothing, or there is no such file.
            WeightsError: a file does not hold exactly the weights of one architecture.
            UsageError: re-ranking was asked for, but each image is a query.
        """
        if images.layout == "identities" and settings.get("rerank"):
            raise UsageError(
                "re-ranking needs queries that are not in the gallery; here each image is a query",
                hint="leave re-ranking out, or give folders of query and gallery images",
            )
        data = read_own_images(images)
        cameras = "use" if data.leave_one_out else images.cameras  # the camera of each image leaves out this image
        chosen = Settings.for_device(device, data.root, cameras=cameras, **settings)
        return cls(Selection.of(zoo(), models, architecture=choices.architecture), data, chosen, choices)

    @property
    def plan(self) -> Plan:
        """One job for each checkpoint."""
        return Plan(tuple(Job(c, self.data.name, None, by_name=True) for c in self.selection.checkpoints))

    def measure(self, journal: Journal, cache: Cache) -> list[Report]:
        """Measure every checkpoint, and return one report for each distance.

        Each image is decoded once, and each checkpoint embeds it once: the second report reads the embeddings in the
        journal.

        Args:
            journal: stores embeddings and measurements, so that an interrupted run can resume.
            cache: where the files of the checkpoints are kept.

        Raises:
            CacheError: the journal cannot be written.
            DiskFullError: the journal or the cache has no room.
            torch.OutOfMemoryError: the GPU has too little memory.
        """
        given = {self.data.name: self.data}
        return [
            verify(self.plan, replace(self.settings, distance=distance), journal, cache, given=given)
            for distance in self.choices.distances
        ]

    def list_scores(self, reports: Sequence[Report], journal: Journal) -> list[RetrievalScores]:
        """List the scores of the checkpoints that were measured: for each checkpoint, one for each distance.

        Args:
            reports: the reports of `measure`.
            journal: the same journal.
        """
        results = [result for same_job in zip(*(r.results for r in reports), strict=True) for result in same_job]
        return [self._make_scores(result, journal) for result in results if isinstance(result, Measured)]

    def _make_scores(self, result: Measured, journal: Journal) -> RetrievalScores:
        measured = {f.metric: f.measured for f in result.figures if f.measured is not None}
        checkpoint, conditions, measurement = result.job.checkpoint, result.conditions, result.measurement
        return RetrievalScores(
            checkpoint=checkpoint.name,
            architecture=checkpoint.model,
            sha256=result.file.sha256,
            dataset=self.data.title,
            distance=cast(Distance, conditions.distance),
            queries=measurement.queries,
            skipped=measurement.skipped,
            gallery=len(self.data.gallery),
            leave_one_out=self.data.leave_one_out,
            cameras="ignore" if self.data.leave_one_out else self.settings.cameras,
            **{metric: measured[metric] for metric in ("rank1", "rank5", "rank10", "mAP", "mINP")},
            thresholds=self._find_thresholds(result, journal) if self.choices.thresholds else None,
        )

    def _find_thresholds(self, result: Measured, journal: Journal) -> Thresholds:
        query, gallery = (rows.to(self.settings.device) for rows in read_embeddings(result, journal))
        labels = read_labels(self.data)
        distance = cast(Distance, result.conditions.distance)
        return find_thresholds(query, gallery, *labels, distance, cameras=self.settings.cameras)
