"""What made the embeddings of a folder: the weights, and how images were prepared."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, Self

from reidhub.files.digest import Digest
from reidhub.inference.export_metadata import ExportMetadata
from reidhub.torch_settings import Precision
from reidhub.zoo.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """The model that made some embeddings. They can be compared only if all fields except ``checkpoint`` are equal.

    Args:
        checkpoint: name of the checkpoint, or path of the user's own file.
        sha256: sha256 of the checkpoint's file, in hex.
        architecture: name of the architecture.
        height: height of the images in pixels.
        width: width of the images in pixels.
        mean: mean of red, green and blue, in [0, 1].
        std: standard deviation of red, green and blue, in [0, 1].
        interpolation: PIL's filter for resizing.
        color: order of the channels.
        precision: how the model computes, see `Precision`; ``fp16`` also for an exported file with float16 weights.
        dimensions: D, the length of an embedding.
        distance: the distance for comparing embeddings.
    """

    checkpoint: str
    sha256: str
    architecture: str
    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    color: Literal["rgb"]
    precision: str
    dimensions: int
    distance: Literal["euclidean", "cosine"]

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint, sha256: str, precision: Precision, dimensions: int) -> Self:
        """Describe a checkpoint of the zoo, or a checkpoint file of the user."""
        spec = checkpoint.input
        return cls(
            checkpoint=checkpoint.name,
            sha256=sha256,
            architecture=checkpoint.model,
            height=spec.height,
            width=spec.width,
            mean=spec.mean,
            std=spec.std,
            interpolation=spec.interpolation,
            color="rgb",
            precision=precision,
            dimensions=dimensions,
            distance=checkpoint.distance,
        )

    @classmethod
    def of_exported_file(cls, path: Path, metadata: ExportMetadata) -> Self:
        """Describe an exported file; the sha256 is that of its checkpoint's file, if the exported file has it."""
        shared = {field.name: getattr(metadata, field.name) for field in fields(cls)}
        return cls(**shared | {"checkpoint": str(path), "sha256": metadata.sha256 or Digest.of_file(path).hex})

    def list_differences(self, other: "EmbeddingModel") -> list[str]:
        """Return a text for each field that must be equal, but is not, such as ``precision: fp32 and bf16``."""
        names = [field.name for field in fields(self) if field.name != "checkpoint"]
        return [
            f"{name}: {getattr(self, name)} and {getattr(other, name)}"
            for name in names
            if getattr(self, name) != getattr(other, name)
        ]
