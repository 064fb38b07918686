"""Fixtures of the tests of `verify`."""

from collections.abc import Callable
from typing import Any

import pytest

from reidhub.files.digest import Digest
from reidhub.inference import openvino_engine
from reidhub.inference.preprocess import PixelSpec
from reidhub.models.base import ReidModel

_converted: dict[tuple[str, tuple[int, int]], Any] = {}


@pytest.fixture(autouse=True)
def convert_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert the same weights only once in this process: most of these tests run the same small models."""
    convert: Callable[[ReidModel, PixelSpec], Any] = openvino_engine.convert

    def convert_or_recall(model: ReidModel, spec: PixelSpec) -> Any:
        tensors = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
        key = Digest.of_bytes(tensors).hex, (spec.height, spec.width)
        if key not in _converted:
            _converted[key] = convert(model, spec)
        return _converted[key]

    monkeypatch.setattr(openvino_engine, "convert", convert_or_recall)
