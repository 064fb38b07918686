"""MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv 1801.04381."""

from functools import partial

from torch import Tensor, nn

from reidhub.models.base import ReidModel
from reidhub.models.blocks import ConvNorm

STEM = 32  # channels of conv1 at width 1
HEAD = 1280  # channels of conv9 at width 1
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Rows of table 2 in the paper: expansion t, channels c at width 1, number of blocks n, stride s of the first block."""

relu6_conv = partial(ConvNorm, activation=nn.ReLU6)


class InvertedResidual(nn.Module):
    """The block of figure 3b in the paper: expands the channels, filters each channel, and reduces the channels.

    The last convolution has no activation. The input is added to the result if both have the same shape.
    """

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        mid = in_channels * expansion
        self.conv1 = relu6_conv(in_channels, mid)
        self.dwconv2 = relu6_conv(mid, mid, 3, stride, groups=mid)
        self.conv3 = nn.Sequential(nn.Conv2d(mid, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: (N, in, h, w) -> (N, out, h/stride, w/stride)."""
        projected = self.conv3(self.dwconv2(self.conv1(x)))  # (N, in, h, w) -> (N, out, h/stride, w/stride)
        return x + projected if self.adds_input else projected


class MobileNetV2(ReidModel):
    """MobileNetV2 as in table 2 of the paper; all numbers of channels are multiplied by ``width`` and rounded down.

    The last convolution has at least 1280 channels. As in the published files, the first stage has an expansion
    convolution, although its expansion is 1.
    """

    def __init__(self, width: float, num_classes: int) -> None:
        last = int(HEAD * max(1.0, width))
        super().__init__(last, num_classes)
        self.conv1 = relu6_conv(3, int(STEM * width), 3, 2)
        self.conv2, self.conv3, self.conv4, self.conv5, self.conv6, self.conv7, self.conv8 = _make_stages(width)
        self.conv9 = relu6_conv(int(STAGES[-1][1] * width), last)
        self.classifier = nn.Linear(last, num_classes)

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the last feature map: (N, 3, H, W) -> (N, D, H/32, W/32)."""
        x = self.conv1(images)  # (N, 3, H, W) -> (N, C, H/2, W/2)
        x = self.conv4(self.conv3(self.conv2(x)))  # -> (N, C, H/8, W/8)
        x = self.conv6(self.conv5(x))  # -> (N, C, H/16, W/16)
        return self.conv9(self.conv8(self.conv7(x)))  # -> (N, D, H/32, W/32)


def _make_stages(width: float) -> list[nn.Sequential]:
    """Create one stage for each row of `STAGES`: (N, in, h, w) -> (N, out, h/s, w/s) with the row's stride s."""
    stages = []
    channels = int(STEM * width)
    for expansion, base, blocks, first_stride in STAGES:
        stage = []
        for stride in (first_stride, *[1] * (blocks - 1)):
            stage.append(InvertedResidual(channels, int(base * width), expansion, stride))
            channels = int(base * width)
        stages.append(nn.Sequential(*stage))
    return stages


mobilenetv2_x1_0 = partial(MobileNetV2, 1.0)
mobilenetv2_x1_4 = partial(MobileNetV2, 1.4)
