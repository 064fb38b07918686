"""OSNet-AIN: Learning Generalisable Omni-Scale Representations for Person Re-Identification, arXiv 1910.06827.

Some blocks have an instance normalisation in the residual path. The authors found out by a search which blocks should
have it; the docstring of `OSNetAIN` lists these blocks.
"""

from functools import partial

from torch import Tensor, nn

from reidhub.models.base import ReidModel
from reidhub.models.blocks import ConvNorm, make_embedding_layer, make_instance_norm
from reidhub.models.osnet import BOTTLENECK, EMBEDDING_DIM, AggregationGate, make_light_convs, make_transition

NUM_SCALES = 4  # number of streams of a block; stream t has a receptive field of (2t + 1) x (2t + 1) pixels


class LiteStream(nn.Module):
    """A stream of ``depth`` `LightConv` layers. Its state-dict keys contain ``layers.``; those of OSNet do not."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = make_light_convs(channels, depth)  # key of the published file

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers: (N, C, h, w) -> (N, C, h, w)."""
        return self.layers(x)


class AINBlock(nn.Module):
    """OSNet's bottleneck; if ``norm_inside`` is True, the residual path ends with an instance normalisation."""

    def __init__(self, in_channels: int, out_channels: int, *, norm_inside: bool) -> None:
        super().__init__()
        mid = out_channels // BOTTLENECK
        self.conv1 = ConvNorm(in_channels, mid)
        self.conv2 = nn.ModuleList(LiteStream(mid, depth) for depth in range(1, NUM_SCALES + 1))
        self.gate = AggregationGate(mid)
        self.conv3 = ConvNorm(mid, out_channels, norm=None if norm_inside else nn.BatchNorm2d, activation=None)
        same = in_channels == out_channels
        self.downsample = None if same else ConvNorm(in_channels, out_channels, activation=None)
        self.IN = make_instance_norm(out_channels) if norm_inside else None  # key of the published file

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: (N, in, h, w) -> (N, out, h, w)."""
        squeezed = self.conv1(x)  # (N, in, h, w) -> (N, mid, h, w)
        residual = self.conv3(self.gate([stream(squeezed) for stream in self.conv2]))  # -> (N, out, h, w)
        if self.IN is not None:
            residual = self.IN(residual)
        identity = x if self.downsample is None else self.downsample(x)  # (N, in, h, w) -> (N, out, h, w)
        return (residual + identity).relu()


class OSNetAIN(ReidModel):
    """OSNet-AIN as the paper's search found it.

    Instance normalisation is in the stem, in both blocks of the first stage, in the second block of the second stage
    and in the first block of the third stage.

    Args:
        channels: channels of the stem and of the three stages.
        num_classes: rows of the classifier.
    """

    def __init__(self, channels: tuple[int, int, int, int], num_classes: int) -> None:
        super().__init__(EMBEDDING_DIM, num_classes)
        stem, first, second, third = channels
        self.conv1 = ConvNorm(3, stem, 7, 2, norm=make_instance_norm)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.conv2 = _make_stage(stem, first, norm_inside=(True, True))
        self.pool2 = make_transition(first)
        self.conv3 = _make_stage(first, second, norm_inside=(False, True))
        self.pool3 = make_transition(second)
        self.conv4 = _make_stage(second, third, norm_inside=(True, False))
        self.conv5 = ConvNorm(third, third)
        self.fc = make_embedding_layer(third, EMBEDDING_DIM)
        self.classifier = nn.Linear(EMBEDDING_DIM, num_classes)

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the last feature map: (N, 3, H, W) -> (N, C, H/16, W/16)."""
        x = self.maxpool(self.conv1(images))  # (N, 3, H, W) -> (N, C, H/4, W/4)
        x = self.pool2(self.conv2(x))  # -> (N, C, H/8, W/8)
        x = self.pool3(self.conv3(x))  # -> (N, C, H/16, W/16)
        return self.conv5(self.conv4(x))  # -> (N, C, H/16, W/16)


def _make_stage(in_channels: int, out_channels: int, *, norm_inside: tuple[bool, bool]) -> nn.Sequential:
    """Create the two blocks of a stage: (N, in, h, w) -> (N, out, h, w)."""
    first = AINBlock(in_channels, out_channels, norm_inside=norm_inside[0])
    return nn.Sequential(first, AINBlock(out_channels, out_channels, norm_inside=norm_inside[1]))


osnet_ain_x1_0 = partial(OSNetAIN, (64, 256, 384, 512))
osnet_ain_x0_75 = partial(OSNetAIN, (48, 192, 288, 384))
osnet_ain_x0_5 = partial(OSNetAIN, (32, 128, 192, 256))
osnet_ain_x0_25 = partial(OSNetAIN, (16, 64, 96, 128))
