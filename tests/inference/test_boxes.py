"""Boxes of a frame through the embedder, against crops of PIL."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.flat_model import make_flat_embedder

from reidhub.errors import DatasetError, UsageError
from reidhub.inference.preprocess import transform

EMBED, SPEC = make_flat_embedder()
RGB = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
BGR = np.ascontiguousarray(RGB[..., ::-1])
BOXES = [[3, 4, 20, 45], [0, 0, 70, 50], [60.2, 10.9, 69.1, 11.1], [-5, -8, 4.5, 90]]
CORNERS = [(3, 4, 20, 45), (0, 0, 70, 50), (60, 10, 70, 12), (0, 0, 5, 50)]
EDGE = st.floats(-30, 100, width=32) | st.integers(-30, 100)


def published(corners: list[tuple[int, int, int, int]]) -> torch.Tensor:
    """The embeddings of crops of the RGB frame: (n, D)."""
    rows = [transform(SPEC)(Image.fromarray(RGB[y1:y2, x1:x2])).flatten() for x1, y1, x2, y2 in corners]
    return torch.stack(rows)


@given(st.lists(st.tuples(EDGE, EDGE, EDGE, EDGE), max_size=8))
@settings(max_examples=150, deadline=None)
def test_boxes_are_rounded_outwards_clipped_and_cut_as_pil_does(boxes: list[tuple[float, ...]]) -> None:
    got = EMBED.boxes(BGR, boxes, color="bgr", on_empty="nan")

    assert got.shape == (len(boxes), 384) and got.dtype == torch.float32 and got.device.type == "cpu"
    for row, (left, top, right, bottom) in zip(got, boxes, strict=True):
        x1, y1 = max(0, math.floor(left)), max(0, math.floor(top))
        x2, y2 = min(70, math.ceil(right)), min(50, math.ceil(bottom))
        if x2 <= x1 or y2 <= y1:
            assert row.isnan().all()
        else:
            assert torch.equal(row[None], published([(x1, y1, x2, y2)]))


def test_a_frame_may_be_bgr_rgb_a_view_with_alpha_or_a_pil_image() -> None:
    want = published(CORNERS)
    alpha = np.full((50, 70, 1), 77, np.uint8)
    wide = np.zeros((60, 90, 4), np.uint8)
    wide[5:55, 10:80, :3] = BGR
    for frame in (BGR, RGB[..., ::-1], np.asfortranarray(BGR), np.dstack([BGR, alpha]), wide[5:55, 10:80, :3]):
        assert torch.equal(EMBED.boxes(frame, BOXES, color="bgr"), want)
    for frame in (RGB, BGR[..., ::-1], np.dstack([RGB, alpha]), RGB[::-1].copy()[::-1], Image.fromarray(RGB)):
        assert torch.equal(EMBED.boxes(frame, BOXES, color="rgb"), want)
    assert not torch.equal(EMBED.boxes(BGR, BOXES, color="rgb"), want)


def test_boxes_and_crops_of_every_kind_are_resized_with_the_filter_of_the_model(tmp_path: Path) -> None:
    embed, spec = make_flat_embedder(interpolation="bicubic")
    crops = [Image.fromarray(RGB[y1:y2, x1:x2]) for x1, y1, x2, y2 in CORNERS]
    size, filter_ = (spec.width, spec.height), Image.Resampling.BICUBIC
    pixels = np.stack([np.asarray(crop.resize(size, filter_)) for crop in crops])
    want = embed(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    paths = [tmp_path / f"{number}.png" for number in range(len(crops))]
    for path, crop in zip(paths, crops, strict=True):
        crop.save(path)

    assert torch.equal(embed.boxes(BGR, BOXES, color="bgr"), want)
    assert torch.equal(embed.boxes(Image.fromarray(RGB), BOXES, color="rgb"), want)
    for images in (crops, paths, [np.asarray(crop) for crop in crops]):
        assert torch.equal(embed(images), want)
    tracked = embed.for_tracker("deep_sort_realtime").predict([np.asarray(crop)[..., ::-1] for crop in crops])
    assert np.array_equal(tracked, want.numpy())
    assert not torch.equal(EMBED.boxes(BGR, BOXES, color="bgr"), want)


def test_grey_and_16_bit_frames_are_the_same_in_both_orders() -> None:
    grey = RGB[..., 0]
    want = torch.cat([EMBED(np.ascontiguousarray(grey[y1:y2, x1:x2])) for x1, y1, x2, y2 in CORNERS])
    for frame in (grey, grey[..., None], grey.astype(np.uint16) * 257):
        for color in ("rgb", "bgr"):
            assert torch.equal(EMBED.boxes(frame, BOXES, color=color), want)
    assert torch.equal(EMBED.boxes(Image.fromarray(grey), BOXES, color="rgb"), want)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_a_pil_frame_may_have_any_mode(mode: str) -> None:
    frame = Image.fromarray(RGB).convert(mode)
    want = EMBED([frame.convert("RGB").crop(corners) for corners in CORNERS])
    assert torch.equal(EMBED.boxes(frame, BOXES, color="rgb"), want)


def test_boxes_may_be_lists_arrays_or_tensors_of_integers_or_floats() -> None:
    want = published(CORNERS)
    for boxes in (BOXES, tuple(map(tuple, BOXES)), np.array(BOXES), np.float32(BOXES), torch.tensor(BOXES)):
        assert torch.equal(EMBED.boxes(BGR, boxes, color="bgr"), want)
    for boxes in (torch.tensor(BOXES[:2]), np.array(BOXES[:2], np.uint8), torch.tensor(BOXES, requires_grad=True)[:2]):
        assert torch.equal(EMBED.boxes(BGR, boxes, color="bgr"), want[:2])
    huge = [[-1e300, -1e19, 1e300, 2**63]]
    assert torch.equal(EMBED.boxes(BGR, huge, color="bgr"), published([(0, 0, 70, 50)]))


@pytest.mark.parametrize("count", [1, 3, 40])
def test_rows_come_in_the_order_of_the_boxes(count: int) -> None:
    corners = [(x % 30, x % 20, x % 30 + 1 + x, x % 20 + 2 + x % 28) for x in range(count)]
    corners = [(x1, y1, min(x2, 70), min(y2, 50)) for x1, y1, x2, y2 in corners]
    assert torch.equal(EMBED.boxes(BGR, corners, color="bgr"), published(corners))


@pytest.mark.parametrize("setting", ["device", "dtype", "inference mode"])
def test_settings_of_torch_change_neither_boxes_nor_skipped_images(setting: str, tmp_path: Path) -> None:
    boxes, images = [BOXES[0], [10, 10, 5, 20], BOXES[1]], [RGB, tmp_path / "gone.jpg", RGB]
    try:
        if setting == "device":
            torch.set_default_device("meta")
        if setting == "dtype":
            torch.set_default_dtype(torch.float64)
        with torch.inference_mode(setting == "inference mode"):
            got = EMBED.boxes(BGR, boxes, color="bgr", on_empty="nan"), EMBED(images, on_error="skip")
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)

    assert torch.equal(got[0][[0, 2]], published(CORNERS[:2])) and torch.equal(got[1], EMBED([RGB, RGB]))
    assert all(rows.dtype == torch.float32 and rows.device.type == "cpu" for rows in got)


def test_no_boxes_give_no_rows() -> None:
    for nothing in ([], np.empty((0, 4)), np.empty(0), torch.empty(0, 4), ()):
        assert EMBED.boxes(BGR, nothing, color="bgr").shape == (0, 384)


@pytest.mark.parametrize("empty", [[10, 10, 10, 20], [10, 10, 5, 20], [70, 0, 90, 20], [-9, -9, 0, 0], [0, 50, 9, 60]])
def test_a_box_without_pixels_is_an_error_or_a_row_of_nan(empty: list[int]) -> None:
    with pytest.raises(UsageError, match=r"box 1 of 3 has no pixels in the frame of 70 x 50(.|\n)*on_empty"):
        EMBED.boxes(BGR, [BOXES[0], empty, BOXES[1]], color="bgr")
    got = EMBED.boxes(BGR, [BOXES[0], empty, BOXES[1]], color="bgr", on_empty="nan")
    assert torch.equal(got[[0, 2]], published(CORNERS[:2])) and got[1].isnan().all()
    assert EMBED.boxes(BGR, [empty] * 2, color="bgr", on_empty="nan").isnan().all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_box_that_is_not_finite_is_an_error(value: float) -> None:
    for on_empty in ("raise", "nan"):
        with pytest.raises(UsageError, match="box 1 of 2 has values that are not finite"):
            EMBED.boxes(BGR, [BOXES[0], [0, 0, value, 5]], color="bgr", on_empty=on_empty)


@pytest.mark.parametrize(
    ("boxes", "what"),
    [
        ([1, 2, 3, 4], r"\(4,\)(.|\n)*\[box\]"),
        (np.zeros((2, 5)), r"\(2, 5\)(.|\n)*boxes\[:, :4\]"),
        (np.zeros((0, 6)), r"\(0, 6\)"),
        (np.zeros((1, 2, 4)), r"\(1, 2, 4\)"),
        ([["a", "b", "c", "d"]], "U1"),
        (np.ones((2, 4), bool), "bool"),
        (np.ones((2, 4), complex), "complex"),
        ([[1, 2, 3, 4], [1, 2]], "inhomogeneous"),
        (None, "object"),
    ],
)
def test_boxes_of_another_shape_or_dtype_are_an_error(boxes, what: str) -> None:
    with pytest.raises(UsageError, match=r"boxes are numbers of shape \(n, 4\)(.|\n)*" + what):
        EMBED.boxes(BGR, boxes, color="bgr")


def test_the_colour_order_must_be_given_and_known() -> None:
    with pytest.raises(TypeError, match="color"):
        EMBED.boxes(BGR, BOXES)  # type: ignore[call-arg]
    for wrong in ("BGR", "gray", None, ["bgr"]):
        with pytest.raises(UsageError, match="color is 'bgr' or 'rgb', got"):
            EMBED.boxes(BGR, BOXES, color=wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="on_empty is 'raise' or 'nan', got 'skip'"):
        EMBED.boxes(BGR, BOXES, color="bgr", on_empty="skip")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="PIL image, and those are RGB"):
        EMBED.boxes(Image.fromarray(RGB), BOXES, color="bgr")


def test_a_frame_that_is_no_uint8_image_is_an_error_even_without_boxes(tmp_path: Path) -> None:
    for boxes in (BOXES, []):
        with pytest.raises(UsageError, match=r"the frame is an array of float32 \(50, 70, 3\); .* in BGR order"):
            EMBED.boxes(BGR.astype(np.float32), boxes, color="bgr")
        with pytest.raises(UsageError, match=r"the frame is an array of uint8 \(3, 50, 70\)"):
            EMBED.boxes(BGR.transpose(2, 0, 1), boxes, color="bgr")
        for wrong in ("frame.jpg", torch.from_numpy(BGR), [BGR]):
            with pytest.raises(UsageError, match=f"the frame is a {type(wrong).__name__}"):
                EMBED.boxes(wrong, boxes, color="bgr")  # type: ignore[arg-type]
    Image.fromarray(RGB).save(tmp_path / "frame.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "frame.png").read_bytes()[:5000])
    with Image.open(tmp_path / "half.png") as half, pytest.raises(DatasetError, match="the frame cannot be decoded"):
        EMBED.boxes(half, BOXES, color="rgb")
