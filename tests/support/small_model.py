"""A small model with every kind of folding, and images for it."""

import torch
from torch import Tensor, nn

from reidhub.models.base import ReidModel
from reidhub.zoo.checkpoint import InputSpec


class Small(ReidModel):
    """Convolutions: one that can be folded, one with two readers, two that are called twice; one of these is folded."""

    input_size = (16, 8)

    def __init__(self) -> None:
        super().__init__(4, 1)
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.conv3, self.bn3 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.conv4, self.bn4 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.classifier = nn.Linear(4, 1)

    def feature_maps(self, images: Tensor) -> Tensor:
        x = self.bn1(self.conv1(images)).relu()
        twice_read = self.conv2(x)
        x = self.bn2(twice_read) + twice_read
        x = self.bn3(self.conv3(self.conv3(x)))
        result: Tensor = self.bn4(self.conv4(self.bn4(self.conv4(x))))
        return result


def make_small_model() -> ReidModel:
    """Return a `Small` model in eval mode whose normalisations change their input."""
    torch.manual_seed(0)
    model = Small()
    for norm in (model.bn1, model.bn2, model.bn3, model.bn4):
        for tensor in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            if isinstance(tensor, Tensor):
                tensor.uniform_(0.5, 1.5)
    return model.eval()


def make_images(count: int = 7) -> Tensor:
    """Return normalised images for `Small`: float32 (count, 3, 16, 8)."""
    return torch.randn(count, 3, 16, 8, generator=torch.Generator().manual_seed(0))


def spec_of(model: ReidModel) -> InputSpec:
    """Return preprocessing with the model's image size."""
    return InputSpec(*model.input_size, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")


def run_plainly(model: nn.Module, images: Tensor) -> Tensor:
    """Run a model without gradients."""
    with torch.no_grad():
        embeddings: Tensor = model(images)
    return embeddings


def relative_error(got: Tensor, want: Tensor) -> float:
    """Return the norm of the difference, divided by the norm of ``want``."""
    return float((got - want).norm() / want.norm())
