"""The module that is exported, and what the user chose for it."""

import copy
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from reidhub.errors import UsageError
from reidhub.inference.export_metadata import ExportMetadata
from reidhub.models.base import ReidModel
from reidhub.zoo.checkpoint import Checkpoint, InputSpec
from reidhub.zoo.hub_folder import choose_title

Format = Literal["onnx", "openvino", "torch-export", "safetensors"]

OPSET = 18
"""The default version of the ONNX operators: the one that `torch.onnx` itself writes."""

IMAGES, EMBEDDINGS = "images", "embeddings"
"""Names of the tensors in every exported file."""


@dataclass(frozen=True, slots=True)
class Choices:
    """The user's choices for an export.

    Args:
        format: the kind of file.
        dynamic: the file takes any number of images, not only one.
        half: the weights are float16.
        opset: version of the ONNX operators; None for `OPSET`, and for other formats.
        with_preprocessing: the file takes RGB pixels in [0, 1], and normalises them itself.

    Raises:
        UsageError: the format does not exist, or does not have one of these choices.
    """

    format: Format
    dynamic: bool = False
    half: bool = False
    opset: int | None = None
    with_preprocessing: bool = False

    def __post_init__(self) -> None:
        if self.format not in get_args(Format):
            raise UsageError(f"unknown format {self.format!r}; there are {', '.join(get_args(Format))}")
        if self.opset is not None and (not isinstance(self.opset, int) or self.opset < 1):
            raise UsageError(f"an opset is a whole number above 0, got {self.opset!r}")
        if self.opset is not None and self.format != "onnx":
            raise UsageError(f"only ONNX has operator sets, but an opset was given for {self.format}")
        if self.format == "safetensors" and (self.dynamic or self.with_preprocessing):
            raise UsageError(
                "a safetensors file holds weights alone: dynamic and with_preprocessing have no meaning for it",
                hint="choose onnx, openvino or torch-export",
            )


class ExportModule(nn.Module):
    """Computes embeddings as the exported file does it: (N, 3, H, W) -> (N, D), both float32.

    Args:
        model: float32, in eval mode, on the CPU; not changed.
        spec: has the mean and standard deviation; used only if ``normalises`` is True.
        half: compute in float16.
        normalises: True if the images are RGB pixels in [0, 1]; False if they are normalised already.
    """

    def __init__(self, model: ReidModel, spec: InputSpec, *, half: bool, normalises: bool) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).half() if half else model
        self.half_precision, self.normalises = half, normalises
        if normalises:
            self.mean = nn.Buffer(torch.tensor(spec.mean)[:, None, None])
            self.std = nn.Buffer(torch.tensor(spec.std)[:, None, None])
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Compute the embeddings."""
        if self.normalises:
            images = (images - self.mean) / self.std
        if not self.half_precision:
            embeddings: Tensor = self.model(images)
            return embeddings
        embeddings = self.model(images.half())
        return embeddings.float()


def describe(model: ReidModel, checkpoint: Checkpoint, choices: Choices) -> ExportMetadata:
    """Return the metadata of an export.

    Args:
        model: the model of the checkpoint.
        checkpoint: the checkpoint.
        choices: what the user chose.
    """
    spec = checkpoint.input
    return ExportMetadata(
        checkpoint=choose_title(checkpoint),
        sha256=checkpoint.artifact.digest.hex if checkpoint.artifact.digest else "",
        architecture=checkpoint.model,
        height=spec.height,
        width=spec.width,
        mean=spec.mean,
        std=spec.std,
        interpolation=spec.interpolation,
        color="rgb",
        pixels="0..1" if choices.with_preprocessing else "normalised",
        dimensions=model.embedding_dim,
        batch_size="dynamic" if choices.dynamic else "1",
        precision="fp16" if choices.half else "fp32",
        opset=(choices.opset or OPSET) if choices.format == "onnx" else None,
        distance=checkpoint.distance,
        licence=checkpoint.licence,
        notices=checkpoint.notices,
    )
