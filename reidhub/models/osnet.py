"""OSNet: Omni-Scale Feature Learning for Person Re-Identification, arXiv 1905.00953.

OSNet-IBN adds instance normalisation to the stem and to the first stage, as in IBN-Net, arXiv 1807.09441.
"""

from collections.abc import Sequence
from functools import partial, reduce
from operator import add

from torch import Tensor, nn

from reidhub.models.base import ReidModel
from reidhub.models.blocks import ConvNorm, make_embedding_layer, make_instance_norm, pool_average

GATE_REDUCTION = 16  # the aggregation gate reduces its channels by this factor, section 3.2
BOTTLENECK = 4  # the layers inside a block have a quarter of its output channels
EMBEDDING_DIM = 512  # at every width


class LightConv(nn.Module):
    """The paper's Lite 3x3 (figure 3b): pointwise convolution, depthwise convolution, normalisation, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)  # pointwise
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)  # depthwise
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers: (N, C, h, w) -> (N, C, h, w)."""
        return self.relu(self.bn(self.conv2(self.conv1(x))))


class AggregationGate(nn.Module):
    """Equation 3 of the paper: sums the streams; for each image, one shared gate weighs the channels of each stream."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // GATE_REDUCTION, 1)
        self.fc2 = nn.Conv2d(channels // GATE_REDUCTION, channels, 1)

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """Weigh and sum T streams: T x (N, C, h, w) -> (N, C, h, w)."""
        return reduce(add, (x * self._weigh(x) for x in streams))  # T x (N, C, h, w) -> (N, C, h, w)

    def _weigh(self, x: Tensor) -> Tensor:
        pooled = pool_average(x)[:, :, None, None]  # (N, C, h, w) -> (N, C, 1, 1)
        return self.fc2(self.fc1(pooled).relu()).sigmoid()


def make_light_convs(channels: int, depth: int) -> nn.Sequential:
    """Create one stream: ``depth`` `LightConv` layers (the paper's Lite 3x3), one after another."""
    return nn.Sequential(*(LightConv(channels) for _ in range(depth)))


class OmniScaleBlock(nn.Module):
    """The bottleneck of figure 4 in the paper: four streams of depth 1 to 4 are weighed, summed and added to the input.

    If ``ibn`` is True, an instance normalisation follows the sum (IBN-b in the paper on IBN-Net).
    """

    def __init__(self, in_channels: int, out_channels: int, *, ibn: bool = False) -> None:
        super().__init__()
        mid = out_channels // BOTTLENECK
        self.conv1 = ConvNorm(in_channels, mid)
        self.conv2a = LightConv(mid)
        self.conv2b = make_light_convs(mid, 2)
        self.conv2c = make_light_convs(mid, 3)
        self.conv2d = make_light_convs(mid, 4)
        self.gate = AggregationGate(mid)
        self.conv3 = ConvNorm(mid, out_channels, activation=None)
        same = in_channels == out_channels
        self.downsample = None if same else ConvNorm(in_channels, out_channels, activation=None)
        self.IN = make_instance_norm(out_channels) if ibn else None  # key of the published file

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: (N, in, h, w) -> (N, out, h, w)."""
        squeezed = self.conv1(x)  # (N, in, h, w) -> (N, mid, h, w)
        streams = (self.conv2a, self.conv2b, self.conv2c, self.conv2d)
        fused = self.gate([stream(squeezed) for stream in streams])  # 4 x (N, mid, h, w) -> (N, mid, h, w)
        identity = x if self.downsample is None else self.downsample(x)  # (N, in, h, w) -> (N, out, h, w)
        out = identity + self.conv3(fused)  # (N, mid, h, w) -> (N, out, h, w)
        return out.relu() if self.IN is None else self.IN(out).relu()


def make_transition(channels: int) -> nn.Sequential:
    """Create the layers between two stages: (N, C, h, w) -> (N, C, h/2, w/2)."""
    return nn.Sequential(ConvNorm(channels, channels), nn.AvgPool2d(2))


class OSNet(ReidModel):
    """OSNet as in table 1 of the paper.

    Args:
        channels: channels of the stem and of the three stages.
        num_classes: rows of the classifier.
        ibn: True for OSNet-IBN, with instance normalisation in the stem and in the first stage.
    """

    def __init__(self, channels: tuple[int, int, int, int], num_classes: int, *, ibn: bool = False) -> None:
        super().__init__(EMBEDDING_DIM, num_classes)
        stem, first, second, third = channels
        self.conv1 = ConvNorm(3, stem, 7, 2, norm=make_instance_norm if ibn else nn.BatchNorm2d)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.conv2 = nn.Sequential(*_make_stage(stem, first, ibn=ibn), make_transition(first))
        self.conv3 = nn.Sequential(*_make_stage(first, second), make_transition(second))
        self.conv4 = nn.Sequential(*_make_stage(second, third))
        self.conv5 = ConvNorm(third, third)
        self.fc = make_embedding_layer(third, EMBEDDING_DIM)
        self.classifier = nn.Linear(EMBEDDING_DIM, num_classes)

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the last feature map: (N, 3, H, W) -> (N, C, H/16, W/16)."""
        x = self.maxpool(self.conv1(images))  # (N, 3, H, W) -> (N, C, H/4, W/4)
        x = self.conv2(x)  # -> (N, C, H/8, W/8)
        x = self.conv3(x)  # -> (N, C, H/16, W/16)
        return self.conv5(self.conv4(x))  # -> (N, C, H/16, W/16)


def _make_stage(in_channels: int, out_channels: int, *, ibn: bool = False) -> list[nn.Module]:
    """Create the two blocks of a stage: (N, in, h, w) -> (N, out, h, w)."""
    return [OmniScaleBlock(in_channels, out_channels, ibn=ibn), OmniScaleBlock(out_channels, out_channels, ibn=ibn)]


osnet_x1_0 = partial(OSNet, (64, 256, 384, 512))
osnet_x0_75 = partial(OSNet, (48, 192, 288, 384))
osnet_x0_5 = partial(OSNet, (32, 128, 192, 256))
osnet_x0_25 = partial(OSNet, (16, 64, 96, 128))
osnet_ibn_x1_0 = partial(OSNet, (64, 256, 384, 512), ibn=True)
