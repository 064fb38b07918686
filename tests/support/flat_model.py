"""A model whose embeddings are its images: with it, tests see what an embedder's model gets."""

from torch import Tensor, nn

from reidhub.inference import Embedder
from reidhub.models.base import ReidModel
from reidhub.zoo.checkpoint import InputSpec, Interpolation


class Flat(ReidModel):
    """(N, 3, H, W) -> (N, 3 * H * W), every value as it is."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__(3 * height * width, 1)
        self.classifier = nn.Linear(1, 1)  # never called; an embedder asks where the parameters lie

    def embed(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def make_flat_embedder(
    height: int = 16, width: int = 8, batch: int = 4, interpolation: Interpolation = "bilinear"
) -> tuple[Embedder, InputSpec]:
    """Return an embedder of a `Flat` model, and its preprocessing."""
    spec = InputSpec(height, width, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), interpolation)
    return Embedder.of_model(Flat(height, width).eval(), spec, precision="exact", batch=batch), spec
