"""Adapters with which a tracking package can use an embedder in place of its own ReID model.

Frames and crops are uint8 arrays (H, W, 3) in BGR, as OpenCV reads them; embeddings are float32 arrays. A box outside
of the frame raises no error, because an error would stop the tracker. NaN in a box is replaced by 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reidhub.errors import UsageError

if TYPE_CHECKING:
    from reidhub.inference.embedder import Embedder

Pixels = NDArray[np.uint8]
Features = NDArray[np.float32]
_BLACK = np.zeros((1, 1, 3), dtype=np.uint8)


@dataclass(frozen=True)
class _Adapter:
    embedder: "Embedder"

    def _embed(self, frame: Pixels, boxes: NDArray[Any]) -> Features:
        """Embed the boxes (n, 4) of a frame; x1, y1, x2, y2 in pixels.

        Returns:
            (n, D), not normalised; a row of NaN for a box outside of the frame.
        """
        return self.embedder.boxes(frame, np.nan_to_num(boxes), color="bgr", on_empty="nan").numpy()


class BoxmotModel(_Adapter):
    """Adapter for the package boxmot: its trackers take it as the argument ``reid_model``."""

    def get_features(self, xyxys: NDArray[Any], img: Pixels) -> Features:
        """Embed the boxes of a frame.

        Args:
            xyxys: (n, 4), (n, 6) or (n, 8): the corners x1, y1, x2, y2 in pixels, then columns that are not read.
            img: the frame.

        Returns:
            (n, D), each row of length 1; (0,) for no boxes. A box outside of the frame is embedded as a black image.

        Raises:
            UsageError: the boxes are rotated (5, 7 or 9 columns).
        """
        boxes = np.asarray(xyxys, dtype=np.float32)
        if boxes.size == 0:
            return np.empty(0, dtype=np.float32)
        if boxes.shape[-1] % 2:
            raise UsageError(f"boxes are x1, y1, x2, y2; got rotated boxes of {boxes.shape[-1]} columns")
        features = self._embed(img, np.atleast_2d(boxes)[:, :4])
        if (outside := np.isnan(features).any(axis=1)).any():
            features[outside] = self.embedder([_BLACK])
        return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12), dtype=np.float32)


class UltralyticsEncoder(_Adapter):
    """Adapter for the package ultralytics: it replaces the attribute ``encoder`` of a tracker."""

    def __call__(self, img: Pixels, dets: NDArray[Any]) -> list[Features | None]:
        """Embed the detections of a frame.

        Args:
            img: the frame.
            dets: (n, 4 or more): centre x, centre y, width, height in pixels, then columns that are not read.

        Returns:
            One array (D,) for each detection, not normalised; None for a detection outside of the frame.
        """
        centres, sizes = dets[:, :2], dets[:, 2:4]
        features = self._embed(img, np.hstack([centres - sizes / 2, centres + sizes / 2]))
        return [None if np.isnan(row).any() else row for row in features]


class SupervisionModel(_Adapter):
    """Adapter for Roboflow's packages supervision and reid.

    It embeds ``Detections`` of supervision, and can be used in place of a ``ReIDModel`` of reid.
    """

    def extract_embeddings(self, detections: Any, frame: Pixels, *, batch_size: int = 32) -> Features:
        """Embed the detections of a frame.

        Args:
            detections: ``supervision.Detections``; only ``xyxy`` is read.
            frame: the frame.
            batch_size: not used; the embedder has its own.

        Returns:
            (n, D), not normalised; (0, 0) for no detections. A box outside of the frame is moved to the frame's edge.
        """
        if len(detections) == 0:
            return np.empty((0, 0), dtype=np.float32)
        boxes, size = np.nan_to_num(detections.xyxy), (frame.shape[1], frame.shape[0])  # (width, height)
        starts = np.clip(boxes[:, :2], 0, np.subtract(size, 1))
        ends = np.clip(boxes[:, 2:], starts + 1, size)  # at least one pixel wide and high
        return self._embed(frame, np.hstack([starts, ends]))


class DeepSortEmbedder(_Adapter):
    """Adapter for the package deep_sort_realtime: it replaces the attribute ``embedder`` of a ``DeepSort``."""

    def predict(self, np_images: Iterable[Pixels]) -> list[Features]:
        """Embed crops of any sizes; a crop without pixels is embedded as a black image.

        Returns:
            One array (D,) for each crop, not normalised.
        """
        return list(self.embedder([crop[:, :, 2::-1] if crop.size else _BLACK for crop in np_images]).numpy())


_ADAPTERS = {
    "boxmot": BoxmotModel,
    "ultralytics": UltralyticsEncoder,
    "supervision": SupervisionModel,
    "deep_sort_realtime": DeepSortEmbedder,
}


def adapt(embedder: "Embedder", package: str) -> Any:
    """Make the adapter with which a tracking package can use an embedder.

    Raises:
        UsageError: there is no adapter for this package.
    """
    if package not in list(_ADAPTERS):
        raise UsageError(f"no adapter for trackers of {package!r}", hint=f"known are {', '.join(_ADAPTERS)}")
    return _ADAPTERS[package](embedder)
