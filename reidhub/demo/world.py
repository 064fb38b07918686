"""A generated re-ID world in Market-1501's layout: real JPEG files, the same bytes on every machine.

Nobody in it exists, so it can be handed out and looked at. The people of the training split appear in no other split.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reidhub.demo.cameras import CAMERAS, HEIGHT, WIDTH, Camera, Pixels
from reidhub.demo.canvas import Canvas, Frame
from reidhub.demo.chance import Chance
from reidhub.demo.figures import Person, Pose, draw, dress
from reidhub.files.digest import Digest
from reidhub.testing import jpeg_encoder

SEED = 2019
TRAIN_PIDS = range(1, 129)
TEST_PIDS = range(129, 229)
_PASSERS_BY = range(1000, 1080)  # people of the images named 0000, whom nobody looks for
_TRAIN_IMAGES = 6  # of each person and camera
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


@dataclass(frozen=True, slots=True)
class Shot:
    """One image of the world before it is drawn.

    Args:
        label: the pid in the file's name: above 0 a person to be found, 0 a distractor, -1 junk.
        figure: who is drawn; of a distractor or junk image another number than any pid.
        camera: 1-based.
        number: tells the shots of one figure and camera apart.
    """

    label: int
    figure: int
    camera: int
    number: int

    @property
    def file_name(self) -> str:
        """Such as ``0002_c1s1_000451_03.jpg``."""
        label = "-1" if self.label < 0 else f"{self.label:04d}"
        frame = 1 + (self.figure * 131 + self.number * 977) % 99_000
        return f"{label}_c{self.camera}s1_{frame:06d}_{self.number:02d}.jpg"


def build(root: Path, splits: tuple[str, ...] = ("train", "query", "gallery")) -> int:
    """Write the images of some splits below ``root``, in the folders of `FOLDERS`.

    Args:
        root: is made where it does not exist.
        splits: keys of `FOLDERS`.

    Returns:
        Number of images written.
    """
    work = [(shot, root / FOLDERS[split]) for split in splits for shot in shots(split)]
    for folder in {folder for _, folder in work}:
        folder.mkdir(parents=True, exist_ok=True)
    for shot, folder in work:
        (folder / shot.file_name).write_bytes(photograph(shot))
    return len(work)


def digest_of(root: Path) -> Digest:
    """The digest of all query and gallery files below ``root``: their names and bytes in the order of the names."""
    files = (path for split in ("query", "gallery") for path in sorted((root / FOLDERS[split]).iterdir()))
    return Digest.of_chunks(chunk for path in files for chunk in (path.name.encode(), path.read_bytes()))


def shots(split: str) -> Iterator[Shot]:
    """Every image of a split, in no particular order; ``split`` is a key of `FOLDERS`."""
    if split == "train":
        return _train()
    return _test(query=True) if split == "query" else _gallery()


def _train() -> Iterator[Shot]:
    for pid in TRAIN_PIDS:
        for camera in CAMERAS:
            for number in range(1, _TRAIN_IMAGES + 1):
                yield Shot(pid, pid, camera.number, number)


def _test(*, query: bool) -> Iterator[Shot]:
    """Each person passes 3 or all 4 cameras; at 2 of them the first image is a query."""
    for pid in TEST_PIDS:
        chance = Chance(SEED, pid, 1)
        first, seen = chance.below(4), 3 + chance.below(2)
        for place in range(seen):
            camera = 1 + (first + place) % 4
            images = 1 + chance.below(3)
            if place < 2 and query:
                yield Shot(pid, pid, camera, 1)
            elif not query:
                yield from (Shot(pid, pid, camera, 2 + number) for number in range(images))


def _gallery() -> Iterator[Shot]:
    yield from _test(query=False)
    for figure in _PASSERS_BY:
        chance = Chance(SEED, figure, 1)
        yield from (Shot(0, figure, 1 + chance.below(4), number) for number in (1, 2))
    for pid in TEST_PIDS:
        chance = Chance(SEED, pid, 2)
        if chance.happens(0.6):
            yield Shot(-1, 2000 + pid, 1 + chance.below(4), 1)


def photograph(shot: Shot) -> bytes:
    """The JPEG file of a shot."""
    chance = Chance(SEED, shot.figure, shot.camera, shot.number, 3)
    camera = CAMERAS[shot.camera - 1]
    pixels = camera.street(chance)
    if chance.happens(0.15):
        companion = _person(3000 + chance.below(200))
        _stand(pixels, companion, _frame(companion, camera, chance, aside=chance.of((-0.3, 0.3))), chance)
    if shot.label >= 0:
        person = _person(shot.figure)
        _stand(pixels, person, _frame(person, camera, chance), chance)
    else:
        _stand(pixels, _person(shot.figure - 2000), _cut_frame(chance), chance)
    if chance.happens(0.2):
        _hide(pixels, camera, chance)
    return jpeg_encoder.encode(camera.develop(pixels, chance))


@cache
def _person(figure: int) -> Person:
    return dress(Chance(SEED, figure, 0))


def _frame(person: Person, camera: Camera, chance: Chance, aside: float = 0.0) -> Frame:
    """A person fills the image, a little off as detectors are; ``aside`` is in widths of the image."""
    scale = 116 * camera.zoom * person.stature * chance.between(0.93, 1.08)
    return Frame(WIDTH * (0.5 + aside) + chance.between(-4, 4), HEIGHT - scale - chance.between(0, 9), scale)


def _cut_frame(chance: Chance) -> Frame:
    """What a detector gives for junk: a part of a person, too large and off the middle."""
    return Frame(WIDTH * chance.between(0.2, 0.8), chance.between(-90, 20), chance.between(180, 220))


def _stand(pixels: Pixels, person: Person, frame: Frame, chance: Chance) -> None:
    pose = Pose(chance.of(("front", "back")), chance.happens(0.5), chance.between(0, 1), chance.between(-1, 1))
    draw(Canvas(pixels, frame), person, pose)


def _hide(pixels: Pixels, camera: Camera, chance: Chance) -> None:
    """Put something in front: a post, a car, another's bag."""
    canvas = Canvas(pixels, Frame(0, 0, 1))
    colour = chance.near(camera.ground, 90)
    if chance.happens(0.5):
        canvas.paint(canvas.trapezium(chance.between(70, 105), 140, chance.between(0, 64), (40, 44)), colour)
    else:
        canvas.paint(canvas.trapezium(-5, 140, chance.between(8, 56), (7, 7)), colour)
