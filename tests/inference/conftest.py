"""Fixtures of the tests of inference: a small model and images for it."""

import pytest
from support.small_model import make_images, make_small_model
from torch import Tensor

from reidhub.models.base import ReidModel


@pytest.fixture
def small() -> ReidModel:
    """A `Small` model in eval mode."""
    return make_small_model()


@pytest.fixture
def images() -> Tensor:
    """Seven normalised images for `Small`: float32 (7, 3, 16, 8)."""
    return make_images()
