"""The architecture ``tiny``, which OpenVINO converts and compiles in a tenth of the time of the zoo's smallest."""

from torch import Tensor, nn

from reidhub.models.base import ReidModel

ENTRY = "support.tiny_model:Tiny"
"""What tests register in `reidhub.models.ARCHITECTURES` under the name ``tiny``."""


class Tiny(ReidModel):
    """Two convolutions with normalisation, and a linear layer; embeddings of 512 numbers.

    Args:
        num_classes: rows of the classifier.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(512, num_classes)
        self.conv1 = nn.Sequential(nn.Conv2d(3, 16, 7, stride=4, padding=3), nn.BatchNorm2d(16), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(16, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU())
        self.fc = nn.Linear(64, 512)
        self.classifier = nn.Linear(512, num_classes)

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the feature map: (N, 3, H, W) -> (N, 64, H/8, W/8)."""
        maps: Tensor = self.conv2(self.conv1(images))
        return maps
