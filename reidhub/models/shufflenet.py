"""ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices, arXiv 1707.01083."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidhub.models.base import ReidModel

GROUPS = 3  # groups of the 1x1 convolutions; column g = 3 of table 1
STAGES = ((240, 4), (480, 8), (960, 4))  # channels and blocks of stages 2, 3, 4 in that column
STEM = 24  # channels of conv1
BOTTLENECK = 4  # the layers inside a unit have a quarter of its output channels


class ShuffleUnit(nn.Module):
    """The unit of figure 2b (stride 1) or 2c (stride 2) in the paper.

    At stride 1 the input is added to the result. At stride 2 the pooled input and the result are concatenated.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: 1 or 2; if 1, ``in_channels`` must equal ``out_channels``.
        first_groups: groups of the first convolution; 1 if the input has too few channels for groups.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, first_groups: int = GROUPS) -> None:
        super().__init__()
        mid = out_channels // BOTTLENECK
        new = out_channels - in_channels if stride == 2 else out_channels
        self.conv1 = nn.Conv2d(in_channels, mid, 1, groups=first_groups, bias=False)
        self.bn1 = nn.BatchNorm2d(mid)
        self.conv2 = nn.Conv2d(mid, mid, 3, stride, padding=1, groups=mid, bias=False)
        self.bn2 = nn.BatchNorm2d(mid)
        self.conv3 = nn.Conv2d(mid, new, 1, groups=GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(new)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Run the unit: (N, in, h, w) -> (N, out, h/stride, w/stride)."""
        out = self.bn1(self.conv1(x)).relu()  # (N, in, h, w) -> (N, mid, h, w)
        out = self.bn2(self.conv2(_shuffle_channels(out)))  # -> (N, mid, h/stride, w/stride)
        out = self.bn3(self.conv3(out))  # -> (N, new, h/stride, w/stride)
        if self.stride == 1:
            return (x + out).relu()
        pooled = F.avg_pool2d(x, 3, 2, 1)  # (N, in, h, w) -> (N, in, h/2, w/2)
        return torch.cat((pooled, out), 1).relu()  # -> (N, in + new, h/2, w/2)


def _shuffle_channels(x: Tensor) -> Tensor:
    """Distribute the channels of each group over all groups: (N, C, h, w) -> (N, C, h, w).

    It is the same as `torch.nn.ChannelShuffle`, which ``torch.onnx.export(dynamo=False)`` cannot export.
    """
    return torch.unflatten(x, 1, (GROUPS, -1)).transpose(1, 2).flatten(1, 2)  # -> (N, g, C/g, h, w) -> (N, C, h, w)


class ShuffleNet(ReidModel):
    """ShuffleNet as in table 1 of the paper, with three groups and width 1."""

    def __init__(self, num_classes: int) -> None:
        (second, second_units), (third, third_units), (fourth, fourth_units) = STAGES
        super().__init__(fourth, num_classes)
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, STEM, 3, 2, padding=1, bias=False),
            nn.BatchNorm2d(STEM),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        self.stage2 = _make_stage(STEM, second, second_units, first_groups=1)
        self.stage3 = _make_stage(second, third, third_units)
        self.stage4 = _make_stage(third, fourth, fourth_units)
        self.classifier = nn.Linear(fourth, num_classes)

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the last feature map: (N, 3, H, W) -> (N, 960, H/32, W/32)."""
        x = self.conv1(images)  # (N, 3, H, W) -> (N, 24, H/4, W/4)
        return self.stage4(self.stage3(self.stage2(x)))  # -> (N, 960, H/32, W/32)


def _make_stage(in_channels: int, out_channels: int, units: int, *, first_groups: int = GROUPS) -> nn.Sequential:
    """Create a stage; its first unit changes the shape: (N, in, h, w) -> (N, out, h/2, w/2)."""
    first = ShuffleUnit(in_channels, out_channels, 2, first_groups)
    return nn.Sequential(first, *(ShuffleUnit(out_channels, out_channels, 1) for _ in range(units - 1)))


shufflenet = ShuffleNet
