"""Answers "are these two the same person?": distances up to which two images count as one person.

The protocol is that of biometric verification (ISO/IEC 19795-1). Every query is compared with every gallery image,
except junk, as in `reidhub.metrics.evaluate`. A pair is accepted if its distance is at most the threshold. The false
accept rate (FAR) is the share of accepted pairs among the pairs of different people. The false reject rate (FRR) is the
share of pairs that are not accepted among the pairs of one person. ISO/IEC 19795-1 calls these two rates of single
comparisons false match rate and false non-match rate. At the equal error rate (EER), the two are equal.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from reidhub.errors import EvaluationError
from reidhub.metrics.distances import DistanceMatrix
from reidhub.metrics.inputs import (
    Array,
    Cameras,
    Distance,
    Embeddings,
    Labels,
    read_embeddings,
    read_labels,
    remove_junk,
)

_DROPPED_BITS = 11  # of the 23 bits of a float32's fraction: a bucket is 1/4096 wide, relative to its lower end
_BUCKETS = 1 << 31 - _DROPPED_BITS  # the bits of distances, which are never negative, have the order of the distances
_CURVE_POINTS = 150


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold, and the errors of those who accept all pairs of images up to it.

    Args:
        distance: the threshold; a pair is accepted if its distance is at most this.
        far: false accept rate, in [0, 1]: share of the pairs of different people that are accepted.
        frr: false reject rate, in [0, 1]: share of the pairs of one person that are not accepted.
    """

    distance: float
    far: float
    frr: float


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Thresholds of the distance for the question whether two images show the same person.

    The error rates are exact for float32 distances. The threshold for a FAR is the largest one whose FAR does not
    exceed it, to within 1/4096: each threshold that is larger by this share exceeds it. It is None if there are fewer
    than 100 pairs of different people for 1 %, or fewer than 1,000 for 0.1 %: these pairs could not show such a rate.

    Args:
        same_pairs: number of pairs of one person.
        different_pairs: number of pairs of different people.
        far_1_percent: the threshold for a FAR of at most 1 %; None if there are too few pairs.
        far_01_percent: the threshold for a FAR of at most 0.1 %; None if there are too few pairs.
        equal_error: the threshold at which FAR and FRR differ least; the EER lies between the two.
        curve: up to 150 thresholds from the smallest to the largest distance, ascending.
        distance: ``euclidean`` (plain, not squared) or ``cosine`` (1 - similarity).
        cameras: ``ignore`` if pairs of one person before one camera counted too.
    """

    same_pairs: int
    different_pairs: int
    far_1_percent: OperatingPoint | None
    far_01_percent: OperatingPoint | None
    equal_error: OperatingPoint
    curve: tuple[OperatingPoint, ...]
    distance: Distance
    cameras: Cameras


def find_thresholds(
    query: Array,
    gallery: Array,
    query_pids: Array,
    gallery_pids: Array,
    query_camids: Array | None = None,
    gallery_camids: Array | None = None,
    distance: Distance = "euclidean",
    *,
    cameras: Cameras = "use",
) -> Thresholds:
    """Find the distances that separate pairs of one person from pairs of different people.

    The arguments are those of `evaluate`. The Euclidean distance is the plain one here, not the squared one: compare
    ``torch.dist(a, b)`` with the thresholds. For ``cosine``, compare 1 - similarity. Pairs of one person from one
    camera do not count, and neither do images with a negative pid.

    All distances are float32, and are counted in buckets. The matrix of distances is never completely in memory. The
    Euclidean distance of nearly equal embeddings has a rounding error of up to about 1/1000 of their length.

    Args:
        query: embeddings (Q, D), of any floating dtype; if they are tensors on a GPU, the GPU computes.
        gallery: embeddings (G, D).
        query_pids: integers (Q,).
        gallery_pids: integers (G,).
        query_camids: integers (Q,); not needed with ``cameras="ignore"``.
        gallery_camids: integers (G,); not needed with ``cameras="ignore"``.
        distance: ``euclidean`` (plain) or ``cosine``.
        cameras: ``use``, or ``ignore`` to count pairs of one person from one camera too.

    Raises:
        EvaluationError: shapes or dtypes do not fit, values are not finite or too large, there is no pair of one
            person, or no pair of different people.
    """
    embeddings = read_embeddings(query, gallery, distance)
    labels = read_labels(embeddings, (query_pids, gallery_pids, query_camids, gallery_camids), cameras)
    embeddings, labels = remove_junk(embeddings, labels)
    accepted = _AcceptedPairs.count(embeddings, labels)
    return Thresholds(
        same_pairs=accepted.same_pairs,
        different_pairs=accepted.different_pairs,
        far_1_percent=accepted.find_far(Fraction(1, 100)),
        far_01_percent=accepted.find_far(Fraction(1, 1000)),
        equal_error=accepted.find_equal_error(),
        curve=accepted.trace_curve(),
        distance=embeddings.distance,
        cameras=labels.cameras,
    )


@dataclass(frozen=True, slots=True)
class _AcceptedPairs:
    """The number of accepted pairs at the upper end of each bucket that is not empty.

    Args:
        buckets: int64 (B,), ascending.
        different: int64 (B,), accepted pairs of different people; the last entry counts all of them.
        same: int64 (B,), accepted pairs of one person.
    """

    buckets: Tensor
    different: Tensor
    same: Tensor

    @classmethod
    def count(cls, embeddings: Embeddings, labels: Labels) -> "_AcceptedPairs":
        """Compute all distances, and count the pairs.

        Raises:
            EvaluationError: there is no pair of one person, or no pair of different people.
        """
        counts = _count_pairs(embeddings, labels).cpu()
        different, same = counts.sum(1).tolist()
        if not different or not same:
            raise _make_one_kind_error(different, same, labels)
        buckets = counts.sum(0).nonzero()[:, 0]
        return cls(buckets, *counts[:, buckets].cumsum(1))

    @property
    def different_pairs(self) -> int:
        """Number of pairs of different people."""
        return int(self.different[-1])

    @property
    def same_pairs(self) -> int:
        """Number of pairs of one person."""
        return int(self.same[-1])

    def find_far(self, target: Fraction) -> OperatingPoint | None:
        """Find the largest threshold whose FAR is at most ``target``; return None if there is none.

        Returns:
            The upper end of the last bucket below the bucket that brings too many pairs of different people.
        """
        allowed = int(target * self.different_pairs)
        excess = int((self.different <= allowed).sum())  # index of the bucket that brings too many
        bucket = int(self.buckets[excess]) - 1
        return None if allowed == 0 or bucket < 0 else self._make_point(bucket, excess - 1)

    def find_equal_error(self) -> OperatingPoint:
        """Find the smallest threshold at which FAR and FRR differ least."""
        rejected = self.same_pairs - self.same
        gaps = (self.different.double() / self.different_pairs - rejected.double() / self.same_pairs).abs()
        place = int(gaps.argmin())
        return self._make_point(int(self.buckets[place]), place)

    def trace_curve(self) -> tuple[OperatingPoint, ...]:
        """Choose buckets, evenly among those that are not empty, and return the points at their upper ends."""
        places = np.linspace(0, len(self.buckets) - 1, min(len(self.buckets), _CURVE_POINTS)).round().astype(int)
        return tuple(self._make_point(int(self.buckets[place]), place) for place in places.tolist())

    def _make_point(self, bucket: int, place: int) -> OperatingPoint:
        """Make the point at the upper end of a bucket.

        Args:
            bucket: the bucket.
            place: index in ``buckets`` of the last bucket that is accepted; -1 for none.
        """
        different, same = (0, 0) if place < 0 else (int(self.different[place]), int(self.same[place]))
        last_bits = torch.tensor(((bucket + 1) << _DROPPED_BITS) - 1, dtype=torch.int32, device="cpu")
        rejected = self.same_pairs - same
        return OperatingPoint(
            float(last_bits.view(torch.float32)), different / self.different_pairs, rejected / self.same_pairs
        )


def _count_pairs(embeddings: Embeddings, labels: Labels) -> Tensor:
    """Count the pairs in each bucket: int64 (2, `_BUCKETS`), pairs of different people, then pairs of one person."""
    counts = torch.zeros(4 * _BUCKETS, dtype=torch.int64, device=embeddings.query.device)
    for queries, distances in DistanceMatrix(embeddings).tiles():
        pids, camids = labels.query_pids[queries, None], labels.query_camids[queries, None]
        same = labels.gallery_pids == pids
        junk = (same & (labels.gallery_camids == camids)) | (pids < 0)
        lengths = distances.float().clamp_(min=0)  # rounding can make a distance slightly negative
        if embeddings.distance == "euclidean":
            lengths.sqrt_()
        keys = lengths.view(torch.int32) >> _DROPPED_BITS
        keys.add_(same, alpha=_BUCKETS).add_(junk, alpha=2 * _BUCKETS)
        counts += torch.bincount(keys.flatten(), minlength=4 * _BUCKETS)
    return counts.view(4, _BUCKETS)[:2]


def _make_one_kind_error(different: int, same: int, labels: Labels) -> EvaluationError:
    hint = "each person needs images in query and gallery" + (
        ' from two cameras, unless cameras="ignore" (--cameras ignore)' if labels.cameras == "use" else ""
    )
    if same:
        hint = "query and gallery need images of at least two people"
    return EvaluationError(
        f"expected pairs of one person and pairs of different people, got {same} of one person and {different} of "
        "different people",
        hint=hint,
    )
