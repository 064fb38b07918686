"""The cameras of the demo's world: each has its own street behind the people, light, colours, blur and noise."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from reidhub.demo.canvas import Canvas, Colour, Frame
from reidhub.demo.chance import Chance

HEIGHT, WIDTH = 128, 64  # pixels of every image, as in Market-1501
_STREET = 256  # pixels of a street's width; an image shows a part of it

Pixels = NDArray[np.float64]  # (3, HEIGHT, WIDTH) in [0, 255]


@dataclass(frozen=True, slots=True)
class Camera:
    """What one camera does to every image.

    Args:
        number: 1-based, as in the file names.
        wall: colour of what stands behind the people.
        ground: colour under their feet.
        gains: of red, green and blue.
        contrast: 1 keeps the light as it is, less is flatter.
        brightness: added after the contrast, of 255.
        softness: how often the image is smoothed.
        grain: largest noise, of 255.
        zoom: size of the people.
    """

    number: int
    wall: Colour
    ground: Colour
    gains: Colour
    contrast: float
    brightness: float
    softness: int
    grain: float
    zoom: float

    def street(self, chance: Chance) -> Pixels:
        """A part of what this camera sees where nobody stands; a copy."""
        left = chance.below(_STREET - WIDTH)
        return _street(self)[:, :, left : left + WIDTH].copy()

    def develop(self, pixels: Pixels, chance: Chance) -> NDArray[np.uint8]:
        """The image (HEIGHT, WIDTH, 3) as this camera stores it; the light of the moment changes as well."""
        light = chance.between(0.75, 1.2)
        slope = chance.between(-0.25, 0.25)
        across = 1 + slope * (np.arange(WIDTH) / WIDTH - 0.5)
        seen = pixels * (light * across) * np.reshape(self.gains, (3, 1, 1))
        seen = 128 + (seen - 128) * self.contrast + self.brightness
        for _ in range(self.softness + chance.below(2)):
            seen = _smooth(seen)
        seen = seen + self.grain * chance.noise((HEIGHT, WIDTH))
        stored: NDArray[np.uint8] = np.floor(np.clip(seen, 0, 255) + 0.5).astype(np.uint8)
        return stored.transpose(1, 2, 0)


CAMERAS = (
    Camera(1, (168, 170, 164), (138, 132, 124), (1.04, 1.0, 0.96), 1.05, 6, 0, 8, 1.0),
    Camera(2, (128, 104, 84), (98, 92, 90), (1.14, 0.97, 0.76), 0.9, -14, 1, 12, 0.94),
    Camera(3, (120, 140, 158), (156, 160, 164), (0.82, 0.97, 1.18), 0.74, 16, 2, 8, 1.03),
    Camera(4, (84, 104, 78), (92, 98, 80), (0.9, 1.08, 0.86), 0.84, -30, 1, 22, 0.97),
)


@cache
def _street(camera: Camera) -> Pixels:
    """Everything behind the people: wall, ground, doors, shutters and puddles, (3, HEIGHT, _STREET)."""
    chance = Chance(77, camera.number)
    pixels = np.empty((3, HEIGHT, _STREET))
    horizon = 70 + chance.below(25)
    pixels[:, :horizon], pixels[:, horizon:] = np.reshape(camera.wall, (3, 1, 1)), np.reshape(camera.ground, (3, 1, 1))
    canvas = Canvas(pixels, Frame(0, 0, 1))
    for _ in range(26):
        left, width = chance.between(0, _STREET), chance.between(3, 18)
        top, height = chance.between(-20, horizon), chance.between(10, 70)
        canvas.paint(0.7 * canvas.trapezium(top, top + height, left, (width, width)), _like(camera.wall, chance))
    for _ in range(14):
        centre = (chance.between(0, _STREET), chance.between(horizon, HEIGHT))
        canvas.paint(0.6 * canvas.ellipse(centre, (chance.between(6, 30), 4)), _like(camera.ground, chance))
    return pixels + 10 * chance.noise((HEIGHT, _STREET))


def _like(colour: Colour, chance: Chance) -> Colour:
    """A lighter or darker neighbour of a colour."""
    shade = chance.between(-60, 60)
    red, green, blue = colour
    return chance.near((red + shade, green + shade, blue + shade), 25)


def _smooth(pixels: Pixels) -> Pixels:
    """Weights 1, 2, 1 down and across; the border repeats."""
    for axis in (1, 2):
        length = pixels.shape[axis]
        padded = np.pad(pixels, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        pixels = (padded.take(range(length), axis) + 2 * pixels + padded.take(range(2, length + 2), axis)) / 4
    return pixels
