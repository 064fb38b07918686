"""Draws frames in which three people of the demo's world walk, for tests of trackers."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import reidhub
from reidhub.demo import DATA, FILE_NAME, world
from reidhub.inference import Embedder
from reidhub.zoo.checkpoint import InputSpec

HEIGHT, WIDTH = 200, 320
STARTS = ((0, 20), (150, 40), (230, 60))  # left, top
STEPS = ((6, 0), (2, 1), (16, 0))  # the third person leaves the frame on the right
FRAMES = 7  # with people


@dataclass
class Scene:
    """Frames in BGR and the boxes x1, y1, x2, y2 of the people in them; the last frame has none."""

    frames: list[NDArray[np.uint8]] = field(default_factory=list)
    boxes: list[NDArray[np.float32]] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
        return iter(zip(self.frames, self.boxes, strict=True))


def draw_scene() -> Scene:
    """Draw `FRAMES` frames with people and one without."""
    shots = [shot for shot in world.list_shots("query") if shot.camera == 1][: len(STARTS)]
    people = [np.asarray(Image.open(io.BytesIO(world.photograph(shot)))) for shot in shots]
    scene = Scene()
    for time in range(FRAMES):
        frame = np.full((HEIGHT, WIDTH + 80, 3), 120, dtype=np.uint8)
        boxes = []
        for person, start, step in zip(people, STARTS, STEPS, strict=True):
            left, top = (at + time * by for at, by in zip(start, step, strict=True))
            height, width = person.shape[:2]
            frame[top : top + height, left : left + width] = person
            boxes.append([left, top, left + width, top + height])
        scene.frames.append(np.ascontiguousarray(frame[:, :WIDTH, ::-1]))
        scene.boxes.append(np.array(boxes, dtype=np.float32))
    scene.frames.append(np.full((HEIGHT, WIDTH, 3), 120, dtype=np.uint8))
    scene.boxes.append(np.empty((0, 4), dtype=np.float32))
    assert scene.boxes[FRAMES - 1][2, 0] >= WIDTH  # it has left
    return scene


def load_demo_embedder() -> Embedder:
    """Load the demo's trained checkpoint."""
    tensors = reidhub.read_weights(DATA / FILE_NAME)
    model = reidhub.build("osnet_x0_25", len(tensors["classifier.weight"])).eval()
    model.load_state_dict(tensors)
    spec = InputSpec(*model.input_size, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    return Embedder.of_model(model, spec, precision="exact", batch=len(STARTS))


def close(got: Any, want: Any, error: float = 1e-5) -> bool:
    """Compare row by row: the error, relative to the length of the row."""
    assert got.shape == want.shape and got.dtype == want.dtype == np.float32
    return bool(np.all(np.linalg.norm(got - want, axis=-1) < error * np.linalg.norm(want, axis=-1)))


def length_one(rows: Any) -> Any:
    """Divide each row by its length."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def are_followed(people: list[dict[int, int]]) -> bool:
    """Return True if the first two people keep their track, apart from the frames that a tracker needs to start.

    Args:
        people: for each frame with people: number of the person -> number of the track.
    """
    seen = [ids for ids in people if {0, 1} <= ids.keys()]
    return len(seen) >= FRAMES - 3 and len({(ids[0], ids[1]) for ids in seen}) == 1
