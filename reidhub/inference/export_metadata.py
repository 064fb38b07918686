"""The metadata of an exported file: what the model is, which images it takes, and under which terms it may be used.

Every format holds the same flat map of texts: ONNX in ``metadata_props``, OpenVINO in the runtime information under
``reidhub``, safetensors in its header, and a ``.pt2`` file of PyTorch in the extra file ``reidhub.json``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_origin

from reidhub.errors import WeightsError
from reidhub.files.digest import Digest
from reidhub.files.strict_json import from_json
from reidhub.zoo.checkpoint import InputSpec, Interpolation

VERSION_KEY = "reidhub_export"
"""Key that marks a file as one that reidhub exported; its value is the version of the metadata."""

EXPORT_AGAIN = "export the file again with `reidhub export`"
"""The hint for a file that is damaged."""

_VERSION = "1"
_LONGEST_SIDE = 4096  # pixels
_MOST_DIMENSIONS = 1 << 16


@dataclass(frozen=True, slots=True)
class ExportMetadata:
    """The metadata of an exported file. The names of the fields are the keys in the file.

    Args:
        checkpoint: name of the checkpoint, or the name of the user's own file.
        sha256: sha256 of the checkpoint's file; empty if it is not known.
        architecture: name of the architecture, such as ``osnet_x1_0``.
        height: height of the images in pixels.
        width: width of the images in pixels.
        mean: mean of red, green and blue, in [0, 1].
        std: standard deviation of red, green and blue, in [0, 1].
        interpolation: PIL's filter for resizing.
        color: order of the channels.
        pixels: what the file expects as ``images``: ``normalised`` means (x - mean) / std of pixels x in [0, 1];
            ``0..1`` means pixels in [0, 1], and the file normalises them itself.
        dimensions: D, the length of an embedding.
        batch_size: ``1`` if the file takes one image at a time, ``dynamic`` if it takes any number.
            The name is not ``batch``, because ultralytics reads a key of that name as a whole number.
        precision: ``fp16`` if the weights are float16; ``images`` and ``embeddings`` are float32 in any case.
        opset: version of the ONNX operators; None in other formats.
        distance: the distance for comparing embeddings.
        licence: licence and terms of use of the weights.
        notices: sentences that every user should read.
    """

    checkpoint: str
    sha256: str
    architecture: str
    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation
    color: Literal["rgb"]
    pixels: Literal["normalised", "0..1"]
    dimensions: int
    batch_size: Literal["1", "dynamic"]
    precision: Literal["fp32", "fp16"]
    opset: int | None
    distance: Literal["euclidean", "cosine"]
    licence: str
    notices: tuple[str, ...]

    @property
    def spec(self) -> InputSpec:
        """Size and normalisation of ``images``; mean 0 and std 1 if the file normalises the pixels itself."""
        if self.pixels == "normalised":
            return InputSpec(self.height, self.width, self.mean, self.std, self.interpolation)
        return InputSpec(self.height, self.width, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), self.interpolation)

    def to_texts(self) -> dict[str, str]:
        """Return the metadata as a flat map of texts; a value that is no text is written as JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
        return {VERSION_KEY: _VERSION, **texts}

    @classmethod
    def of_texts(cls, texts: Mapping[str, str], what: str) -> Self:
        """Read the metadata of a file. Other keys, which other programs may have added, are ignored.

        Args:
            texts: the file's metadata. It is not trusted.
            what: the file, for messages.

        Raises:
            WeightsError: the file was not exported by reidhub, or its metadata is damaged.
        """
        if VERSION_KEY not in texts:
            raise WeightsError(
                f"{what} does not say which images it takes: reidhub did not export it",
                hint="`reidhub export NAME-or-FILE` makes a file that reidhub can run",
            )
        if texts[VERSION_KEY] != _VERSION:
            raise WeightsError(
                f"{what} has metadata of version {texts[VERSION_KEY][:20]!r}; this reidhub reads version {_VERSION}",
                hint="install a newer reidhub",
            )
        try:
            found = from_json(cls, _join(texts))
            found._check()
        except (ValueError, KeyError) as error:
            raise WeightsError(f"the metadata of {what} is damaged", hint=EXPORT_AGAIN) from error
        return found

    def _check(self) -> None:
        """Check the values that others rely on.

        Raises:
            ValueError: a value is out of its range.
        """
        if self.sha256:
            Digest(self.sha256)
        sizes_fit = 0 < self.height <= _LONGEST_SIDE and 0 < self.width <= _LONGEST_SIDE
        colours_fit = all(0 <= value <= 1 for value in self.mean) and all(0 < value <= 1 for value in self.std)
        if not (sizes_fit and colours_fit and 0 < self.dimensions <= _MOST_DIMENSIONS):
            raise ValueError("a value is out of its range")


def _join(texts: Mapping[str, str]) -> bytes:
    """Return the texts of the known fields as one JSON document.

    Raises:
        KeyError: a field is missing.
        ValueError: a value should be JSON, but is not.
    """
    values: dict[str, Any] = {}
    for field in fields(ExportMetadata):
        is_text = field.type is str or get_origin(field.type) is Literal
        values[field.name] = texts[field.name] if is_text else json.loads(texts[field.name])
    return json.dumps(values).encode()
