"""A generated re-identification dataset in Market-1501's layout: JPEG files with the same bytes on every machine.

The people do not exist, so anyone may share and show the images. The people of the training split appear in no other
split. As in Market-1501, there are distractors (images of people who are in no query image) and junk (badly cropped
images).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reidhub.demo.cameras import CAMERAS, HEIGHT, WIDTH, Camera, Pixels
from reidhub.demo.canvas import Canvas, Frame
from reidhub.demo.figures import Person, Pose, choose_person, draw
from reidhub.demo.random_stream import RandomStream
from reidhub.files.digest import Digest
from reidhub.testing import encode_jpeg

SEED = 2019
TRAIN_PIDS = range(1, 129)
TEST_PIDS = range(129, 229)
_PASSERS_BY = range(1000, 1080)  # people in distractors; the pid in those file names is 0000
_TRAIN_IMAGES = 6  # images of each person by each camera
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


@dataclass(frozen=True, slots=True)
class Shot:
    """The description of one image to draw.

    Args:
        label: the pid in the file name: above 0 for a person, 0 for a distractor (a person who is in no query image),
            -1 for junk (a badly cropped image).
        figure: number that determines the person to draw. It is equal to ``label`` if ``label`` is above 0. It is from
            1000 to 1079 for a distractor, and 2000 + the pid of the person for junk.
        camera: number of the camera, 1 to 4.
        number: number of the image among all images of this person by this camera.
    """

    label: int
    figure: int
    camera: int
    number: int

    @property
    def file_name(self) -> str:
        """The name of the image file, such as ``0002_c1s1_000451_03.jpg``."""
        label = "-1" if self.label < 0 else f"{self.label:04d}"
        frame = 1 + (self.figure * 131 + self.number * 977) % 99_000
        return f"{label}_c{self.camera}s1_{frame:06d}_{self.number:02d}.jpg"


def write_images(root: Path, splits: tuple[str, ...] = ("train", "query", "gallery")) -> int:
    """Draw the images of some splits, and write them below ``root``, in the folders of `FOLDERS`.

    Args:
        root: created if it does not exist.
        splits: keys of `FOLDERS`.

    Returns:
        Number of images written.
    """
    work = [(shot, root / FOLDERS[split]) for split in splits for shot in list_shots(split)]
    for folder in {folder for _, folder in work}:
        folder.mkdir(parents=True, exist_ok=True)
    for shot, folder in work:
        (folder / shot.file_name).write_bytes(photograph(shot))
    return len(work)


def compute_digest(root: Path) -> Digest:
    """Hash the names and bytes of all query and gallery files below ``root``, in the order of the names."""
    files = (path for split in ("query", "gallery") for path in sorted((root / FOLDERS[split]).iterdir()))
    return Digest.of_chunks(chunk for path in files for chunk in (path.name.encode(), path.read_bytes()))


def list_shots(split: str) -> list[Shot]:
    """List the descriptions of all images of a split.

    Args:
        split: a key of `FOLDERS`.
    """
    if split == "train":
        return list(_train_shots())
    return list(_test_shots(query=True) if split == "query" else _gallery_shots())


def _train_shots() -> Iterator[Shot]:
    for pid in TRAIN_PIDS:
        for camera in CAMERAS:
            for number in range(1, _TRAIN_IMAGES + 1):
                yield Shot(pid, pid, camera.number, number)


def _test_shots(*, query: bool) -> Iterator[Shot]:
    """List the images of the people in query and gallery: the query images if ``query``, else the gallery images.

    Each person is seen by 3 or 4 cameras. Two of the cameras take one query image each; all other images are in the
    gallery.
    """
    for pid in TEST_PIDS:
        stream = RandomStream(SEED, pid, 1)
        first, seen = stream.draw_int(4), 3 + stream.draw_int(2)
        for place in range(seen):
            camera = 1 + (first + place) % 4
            images = 1 + stream.draw_int(3)
            if place < 2 and query:
                yield Shot(pid, pid, camera, 1)
            elif not query:
                yield from (Shot(pid, pid, camera, 2 + number) for number in range(images))


def _gallery_shots() -> Iterator[Shot]:
    yield from _test_shots(query=False)
    for figure in _PASSERS_BY:
        stream = RandomStream(SEED, figure, 1)
        yield from (Shot(0, figure, 1 + stream.draw_int(4), number) for number in (1, 2))
    for pid in TEST_PIDS:
        stream = RandomStream(SEED, pid, 2)
        if stream.draw_bool(0.6):
            yield Shot(-1, 2000 + pid, 1 + stream.draw_int(4), 1)


def photograph(shot: Shot) -> bytes:
    """Draw the image that a shot describes, and return the bytes of its JPEG file."""
    stream = RandomStream(SEED, shot.figure, shot.camera, shot.number, 3)
    camera = CAMERAS[shot.camera - 1]
    pixels = camera.crop_street(stream)
    if stream.draw_bool(0.15):
        companion = _make_person(3000 + stream.draw_int(200))
        _draw_person(
            pixels, companion, _choose_frame(companion, camera, stream, aside=stream.choose((-0.3, 0.3))), stream
        )
    if shot.label >= 0:
        person = _make_person(shot.figure)
        _draw_person(pixels, person, _choose_frame(person, camera, stream), stream)
    else:
        _draw_person(pixels, _make_person(shot.figure - 2000), _choose_junk_frame(stream), stream)
    if stream.draw_bool(0.2):
        _draw_obstacle(pixels, camera, stream)
    return encode_jpeg(camera.develop(pixels, stream))


@cache
def _make_person(figure: int) -> Person:
    return choose_person(RandomStream(SEED, figure, 0))


def _choose_frame(person: Person, camera: Camera, stream: RandomStream, aside: float = 0.0) -> Frame:
    """Choose the place of a person in an image, and a size at which the person is about as tall as the image.

    ``aside`` moves the person to the right (or left, if negative); 1 is the width of the image.
    """
    scale = 116 * camera.zoom * person.stature * stream.draw_number(0.93, 1.08)
    return Frame(WIDTH * (0.5 + aside) + stream.draw_number(-4, 4), HEIGHT - scale - stream.draw_number(0, 9), scale)


def _choose_junk_frame(stream: RandomStream) -> Frame:
    """Choose size and place of a person for a badly cropped image: too large and not in the middle."""
    return Frame(WIDTH * stream.draw_number(0.2, 0.8), stream.draw_number(-90, 20), stream.draw_number(180, 220))


def _draw_person(pixels: Pixels, person: Person, frame: Frame, stream: RandomStream) -> None:
    pose = Pose(
        stream.choose(("front", "back")), stream.draw_bool(0.5), stream.draw_number(0, 1), stream.draw_number(-1, 1)
    )
    draw(Canvas(pixels, frame), person, pose)


def _draw_obstacle(pixels: Pixels, camera: Camera, stream: RandomStream) -> None:
    """Draw something in front of the person: a box at the bottom or a post."""
    canvas = Canvas(pixels, Frame(0, 0, 1))
    colour = stream.vary_colour(camera.ground, 90)
    if stream.draw_bool(0.5):
        canvas.paint(
            canvas.cover_trapezium(stream.draw_number(70, 105), 140, stream.draw_number(0, 64), (40, 44)), colour
        )
    else:
        canvas.paint(canvas.cover_trapezium(-5, 140, stream.draw_number(8, 56), (7, 7)), colour)
