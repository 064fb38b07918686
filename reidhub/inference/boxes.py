"""Cuts boxes out of a video frame, without converting the rest of the frame."""

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from reidhub.errors import UsageError
from reidhub.inference.decoding import Rgb, decode, find_size, view_rgb

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels of the image."""

Color = Literal["bgr", "rgb"]
OnEmpty = Literal["raise", "nan"]
Frame = Image.Image | NDArray[np.uint8] | NDArray[np.uint16]


def cut_boxes(frame: Frame, xyxy: ArrayLike | torch.Tensor, color: Color, on_empty: OnEmpty) -> list[Rgb | None]:
    """Cut boxes out of a frame.

    Args:
        frame: a PIL image, or an array with any strides: uint8 (h, w, 3) or (h, w, 4), or grey (h, w), uint8 or uint16.
        xyxy: (n, 4), left, top, right and bottom edges in pixels. Parts of a box outside of the frame are cut off.
        color: order of the frame's channels; must be ``rgb`` for a PIL image.
        on_empty: what happens if no pixel of a box is in the frame: ``raise`` raises an error, ``nan`` gives None.

    Returns:
        The RGB pixels of each box. They are not copied if the frame is an array of uint8. None for a box without pixels
        in the frame.

    Raises:
        UsageError: an argument is wrong, or ``on_empty`` is ``raise`` and a box has no pixels in the frame.
        DatasetError: the frame is a PIL image that cannot be decoded.
    """
    _check_choice("on_empty", on_empty, get_args(OnEmpty))
    pixels = _view_frame(frame, color)
    height, width = find_size(pixels)
    boxes = _read_boxes(xyxy)
    corners = _clip_boxes(boxes, width, height)
    empty = np.any(corners[:, 2:] <= corners[:, :2], axis=1)
    if on_empty == "raise" and empty.any():
        first = int(empty.argmax())
        raise UsageError(
            f"box {first} of {len(corners)} has no pixels in the frame of {width} x {height}: {boxes[first].tolist()}",
            hint='on_empty="nan" gives such boxes a row of NaN',
        )
    return [None if skip else _cut(pixels, box) for box, skip in zip(corners.tolist(), empty.tolist(), strict=True)]


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name} is {' or '.join(map(repr, choices))}, got {value!r}")


def _view_frame(frame: Frame, color: Color) -> Rgb:
    """Check a frame and the order of its channels, and return it in RGB order; uint8 arrays are not copied."""
    _check_choice("color", color, get_args(Color))
    if isinstance(frame, Image.Image):
        if color != "rgb":
            raise UsageError(f"the frame is a PIL image, and those are RGB, but color is {color!r}")
        return decode(frame, "the frame")
    if not isinstance(frame, np.ndarray):
        raise UsageError(
            f"the frame is a {type(frame).__name__}; a frame is a uint8 array (height, width, 3) or a PIL image"
        )
    pixels = view_rgb(frame, "the frame", order=color.upper())
    return pixels[..., ::-1] if color == "bgr" else pixels


def _read_boxes(xyxy: ArrayLike | torch.Tensor) -> NDArray[np.float64]:
    """Check boxes and convert them to float64 (n, 4).

    Raises:
        UsageError: the boxes have another shape, are not numbers, or are not finite.
    """
    try:
        given = np.asarray(xyxy.detach().cpu() if isinstance(xyxy, torch.Tensor) else xyxy)
    except ValueError as error:
        raise UsageError(f"boxes are numbers of shape (n, 4): {error}") from error
    if given.shape == (0,):
        given = given.reshape(0, 4)
    if given.ndim != 2 or given.shape[1] != 4 or given.dtype.kind not in "fiu":
        raise UsageError(
            f"boxes are numbers of shape (n, 4), got {given.dtype} {given.shape}",
            hint="boxes[:, :4] drops further columns" if given.ndim == 2 else "[box] for a single one",
        )
    boxes = given.astype(np.float64)
    finite = np.isfinite(boxes).all(axis=1)
    if not finite.all():
        first = int(finite.argmin())
        raise UsageError(f"box {first} of {len(boxes)} has values that are not finite: {boxes[first].tolist()}")
    return boxes


def _clip_boxes(boxes: NDArray[np.float64], width: int, height: int) -> NDArray[np.int64]:
    """Round the left and top edges down, the right and bottom edges up, and clip all to the frame."""
    limits = [width, height]
    start = np.clip(np.floor(boxes[:, :2]), 0, limits)
    stop = np.clip(np.ceil(boxes[:, 2:]), 0, limits)
    return np.hstack([start, stop]).astype(np.int64)


def _cut(pixels: Rgb, box: list[int]) -> Rgb:
    x1, y1, x2, y2 = box
    return pixels.crop((x1, y1, x2, y2)) if isinstance(pixels, Image.Image) else pixels[y1:y2, x1:x2]
