"""The cameras of the generated dataset. Each camera has its own street, light, colours, blur and noise."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from reidhub.demo.canvas import Canvas, Colour, Frame
from reidhub.demo.random_stream import RandomStream

HEIGHT, WIDTH = 128, 64  # pixels of every image, as in Market-1501
_STREET = 256  # width of a street in pixels; an image shows a part of it

Pixels = NDArray[np.float64]  # (3, HEIGHT, WIDTH) in [0, 255]


@dataclass(frozen=True, slots=True)
class Camera:
    """The settings of one camera.

    Args:
        number: number of the camera in the file names, from 1.
        wall: colour behind the people.
        ground: colour under their feet.
        gains: factors for red, green and blue.
        contrast: 1 keeps the contrast; a smaller number reduces it.
        brightness: added to each pixel after the change of contrast; pixels are 0 to 255.
        softness: how many times each image is smoothed; some images are smoothed once more.
        grain: largest change of a pixel by noise; pixels are 0 to 255.
        zoom: factor for the size of the people.
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

    def crop_street(self, stream: RandomStream) -> Pixels:
        """Return a random part of the empty street that this camera sees, as wide as an image."""
        left = stream.draw_int(_STREET - WIDTH)
        return _draw_street(self)[:, :, left : left + WIDTH].copy()

    def develop(self, pixels: Pixels, stream: RandomStream) -> NDArray[np.uint8]:
        """Return the photo that this camera takes of a drawn scene, with its own colours, blur and noise.

        Args:
            pixels: the scene, (3, HEIGHT, WIDTH) in [0, 255].
            stream: random choices of the light and the noise.

        Returns:
            uint8 (HEIGHT, WIDTH, 3).
        """
        light = stream.draw_number(0.75, 1.2)
        slope = stream.draw_number(-0.25, 0.25)
        across = 1 + slope * (np.arange(WIDTH) / WIDTH - 0.5)
        seen = pixels * (light * across) * np.reshape(self.gains, (3, 1, 1))
        seen = 128 + (seen - 128) * self.contrast + self.brightness
        for _ in range(self.softness + stream.draw_int(2)):
            seen = _smooth(seen)
        seen = seen + self.grain * stream.draw_noise((HEIGHT, WIDTH))
        stored: NDArray[np.uint8] = np.floor(np.clip(seen, 0, 255) + 0.5).astype(np.uint8)
        return stored.transpose(1, 2, 0)


CAMERAS = (
    Camera(1, (168, 170, 164), (138, 132, 124), (1.04, 1.0, 0.96), 1.05, 6, 0, 8, 1.0),
    Camera(2, (128, 104, 84), (98, 92, 90), (1.14, 0.97, 0.76), 0.9, -14, 1, 12, 0.94),
    Camera(3, (120, 140, 158), (156, 160, 164), (0.82, 0.97, 1.18), 0.74, 16, 2, 8, 1.03),
    Camera(4, (84, 104, 78), (92, 98, 80), (0.9, 1.08, 0.86), 0.84, -30, 1, 22, 0.97),
)


@cache
def _draw_street(camera: Camera) -> Pixels:
    """Draw the empty street (3, HEIGHT, _STREET): wall, ground, doors, shutters and puddles."""
    stream = RandomStream(77, camera.number)
    pixels = np.empty((3, HEIGHT, _STREET))
    horizon = 70 + stream.draw_int(25)
    pixels[:, :horizon], pixels[:, horizon:] = np.reshape(camera.wall, (3, 1, 1)), np.reshape(camera.ground, (3, 1, 1))
    canvas = Canvas(pixels, Frame(0, 0, 1))
    for _ in range(26):
        left, width = stream.draw_number(0, _STREET), stream.draw_number(3, 18)
        top, height = stream.draw_number(-20, horizon), stream.draw_number(10, 70)
        canvas.paint(
            0.7 * canvas.cover_trapezium(top, top + height, left, (width, width)), _vary_shade(camera.wall, stream)
        )
    for _ in range(14):
        centre = (stream.draw_number(0, _STREET), stream.draw_number(horizon, HEIGHT))
        canvas.paint(
            0.6 * canvas.cover_ellipse(centre, (stream.draw_number(6, 30), 4)), _vary_shade(camera.ground, stream)
        )
    return pixels + 10 * stream.draw_noise((HEIGHT, _STREET))


def _vary_shade(colour: Colour, stream: RandomStream) -> Colour:
    """Choose a lighter or darker colour of about the same hue."""
    shade = stream.draw_number(-60, 60)
    red, green, blue = colour
    return stream.vary_colour((red + shade, green + shade, blue + shade), 25)


def _smooth(pixels: Pixels) -> Pixels:
    """Average each pixel with its neighbours, with weights 1, 2, 1 in both directions; repeat pixels at the border."""
    for axis in (1, 2):
        length = pixels.shape[axis]
        padded = np.pad(pixels, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        pixels = (padded.take(range(length), axis) + 2 * pixels + padded.take(range(2, length + 2), axis)) / 4
    return pixels
