"""The blocks of ResNeSt-50: Split-Attention Networks, arXiv 2004.08955.

The variant is the one that the authors call 2s1x64d: two splits, one group, and a width of 64 in the first stage.
"""

from torch import Tensor, nn

from reidhub.models.resnet import EXPANSION

SPLITS = 2


class SplitAttention(nn.Module):
    """A 3x3 convolution with two outputs, and their sum, weighted for each image and channel.

    Args:
        width: channels of the input and of the output.
        dilation: dilation of the convolution.
    """

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        inner = max(width // 2, 32)
        self.conv = nn.Conv2d(width, width * SPLITS, 3, padding=dilation, dilation=dilation, groups=SPLITS, bias=False)
        self.bn0 = nn.BatchNorm2d(width * SPLITS)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(width, inner, 1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.fc2 = nn.Conv2d(inner, width * SPLITS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers: (N, C, h, w) -> (N, C, h, w)."""
        splits = self.relu(self.bn0(self.conv(x))).unflatten(1, (SPLITS, -1))  # (N, C, h, w) -> (N, 2, C, h, w)
        pooled = splits.sum(1).mean((2, 3), keepdim=True)  # -> (N, C, 1, 1)
        scores = self.fc2(self.relu(self.bn1(self.fc1(pooled))))  # -> (N, 2C, 1, 1)
        weights = scores.unflatten(1, (SPLITS, -1)).softmax(1)  # -> (N, 2, C, 1, 1)
        return (splits * weights).sum(1)  # -> (N, C, h, w)


class SplitAttentionBottleneck(nn.Module):
    """ResNet's bottleneck with split attention instead of the 3x3 convolution; an average pooling has the stride.

    Args:
        in_channels: channels of the input.
        width: channels of the split attention.
        pool: the average pooling; None for none.
        dilation: dilation of the split attention.
        downsample: gives the input the shape of the output; None if it already has this shape.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        pool: nn.Module | None = None,
        dilation: int = 1,
        downsample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = SplitAttention(width, dilation)
        self.pool = pool
        self.conv3 = nn.Conv2d(width, width * EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * EXPANSION)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: (N, in, h, w) -> (N, 4 width, h/stride, w/stride)."""
        out = self.conv2(self.relu(self.bn1(self.conv1(x))))  # (N, in, h, w) -> (N, width, h, w)
        if self.pool is not None:
            out = self.pool(out)  # -> (N, width, h/stride, w/stride)
        out = self.bn3(self.conv3(out))  # -> (N, 4 width, h/stride, w/stride)
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


def make_resnest_stem() -> nn.Sequential:
    """Create the three convolutions of the stem: (N, 3, H, W) -> (N, 64, H/2, W/2)."""
    layers: list[nn.Module] = []
    for in_channels, stride in ((3, 2), (32, 1)):
        layers += [nn.Conv2d(in_channels, 32, 3, stride, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(32, 64, 3, 1, 1, bias=False))


def make_resnest_stages(dilation: int = 1) -> list[nn.Sequential]:
    """Create the four stages: (N, 64, h, w) -> (N, 2048, h/4, w/4).

    Args:
        dilation: dilation of the last stage, 1 or 2.
    """
    return [
        _make_stage(64, 64, 3),
        _make_stage(256, 128, 4, stride=2),
        _make_stage(512, 256, 6, stride=2),
        _make_stage(1024, 512, 3, dilation=dilation),
    ]


def _make_stage(in_channels: int, width: int, blocks: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Create a stage; its first block changes the shape: (N, in, h, w) -> (N, 4 width, h/stride, w/stride).

    The first block pools, also at stride 1, but not in the first stage, whose input has 64 channels. As in the
    authors' code, the first block of a stage with dilation 2 has dilation 1, and all others have dilation 2.
    """
    out_channels = width * EXPANSION
    downsample = nn.Sequential(
        nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
    )
    pool = None if in_channels == 64 else nn.AvgPool2d(3, stride, 1)
    first = SplitAttentionBottleneck(in_channels, width, pool, downsample=downsample)
    others = (SplitAttentionBottleneck(out_channels, width, dilation=dilation) for _ in range(blocks - 1))
    return nn.Sequential(first, *others)
