"""Make reproducible random choices: a seed gives the same choices with every version of NumPy and Python."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Colour = tuple[float, float, float]


class RandomStream:
    """A sequence of reproducible random choices.

    All choices use ``RandomState.random_sample``, because NumPy promises that the numbers of this function never
    change. There is no such promise for ``numpy.random.Generator``.

    Args:
        seed: whole numbers from 0 to 2**32 - 1; the same numbers give the same choices.
    """

    def __init__(self, *seed: int) -> None:
        self._state = np.random.RandomState(np.array(seed, dtype=np.uint32))

    def draw_number(self, low: float, high: float) -> float:
        """Draw a number in [low, high)."""
        return low + (high - low) * float(self._state.random_sample())

    def draw_bool(self, probability: float) -> bool:
        """Return True with the given probability, in [0, 1]."""
        return self.draw_number(0, 1) < probability

    def draw_int(self, bound: int) -> int:
        """Draw a whole number in [0, bound)."""
        return int(self.draw_number(0, bound))

    def choose(self, options: Sequence[T]) -> T:
        """Choose one of the options; all are equally likely."""
        return options[self.draw_int(len(options))]

    def vary_colour(self, colour: Colour, spread: float) -> Colour:
        """Return a random colour near ``colour``: each channel differs by at most ``spread`` and is in [0, 255]."""
        red, green, blue = (min(255.0, max(0.0, c + self.draw_number(-spread, spread))) for c in colour)
        return red, green, blue

    def draw_noise(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw an array of independent numbers in (-1, 1); numbers near 0 are the most likely (triangular density)."""
        return self._state.random_sample(shape) - self._state.random_sample(shape)
