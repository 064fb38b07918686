"""Reproducible chance: the same seed gives the same choices with every version of NumPy and Python."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Colour = tuple[float, float, float]


class Chance:
    """A stream of choices.

    Built on ``RandomState.random_sample``, whose stream NumPy has frozen; ``Generator`` makes no such promise.

    Args:
        seed: whole numbers that name the stream.
    """

    def __init__(self, *seed: int) -> None:
        self._state = np.random.RandomState(np.array(seed, dtype=np.uint32))

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * float(self._state.random_sample())

    def happens(self, probability: float) -> bool:
        """True with this probability."""
        return self.between(0, 1) < probability

    def below(self, bound: int) -> int:
        """A whole number in [0, bound)."""
        return int(self.between(0, bound))

    def of(self, options: Sequence[T]) -> T:
        """One of the options, each as likely as the others."""
        return options[self.below(len(options))]

    def near(self, colour: Colour, spread: float) -> Colour:
        """A colour at most ``spread`` away from another in each channel, within [0, 255]."""
        red, green, blue = (min(255.0, max(0.0, c + self.between(-spread, spread))) for c in colour)
        return red, green, blue

    def noise(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent numbers in (-1, 1) with a triangular density around 0."""
        return self._state.random_sample(shape) - self._state.random_sample(shape)
