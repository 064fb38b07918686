"""HA-CNN: Harmonious Attention Network for Person Re-Identification, arXiv 1802.08122.

Functions under `torch.fx.wrap` ask for sizes, which a traced graph does not know; there they are one step each.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from reidhub.errors import UsageError
from reidhub.models.base import ReidModel
from reidhub.models.blocks import ConvNorm, embedding_layer, global_average

REGIONS = 4  # local branches, one above the other
REGION_HEIGHT = 1 / REGIONS  # part of the height a region sees; it is as wide as the image
CHANNELS = (128, 256, 384)  # of the three stages
REGION_SIZES = ((24, 28), (12, 14), (6, 7))  # height and width a region is resized to at each stage
REDUCTION = 16  # bottleneck of the channel attention
BRANCH_DIM = 512  # length of the global and of the local feature

conv = partial(ConvNorm, bias=True)


class InceptionA(nn.Module):
    """The paper's Inception-A: four streams of equal width, put side by side."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        mid = out_channels // 4
        self.stream1 = nn.Sequential(conv(in_channels, mid), conv(mid, mid, 3))
        self.stream2 = nn.Sequential(conv(in_channels, mid), conv(mid, mid, 3))
        self.stream3 = nn.Sequential(conv(in_channels, mid), conv(mid, mid, 3))
        self.stream4 = nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(in_channels, mid))

    def forward(self, x: Tensor) -> Tensor:
        """Run all streams: (N, in, h, w) -> (N, out, h, w)."""
        return torch.cat((self.stream1(x), self.stream2(x), self.stream3(x), self.stream4(x)), 1)


class InceptionB(nn.Module):
    """The paper's Inception-B: three streams that halve height and width, put side by side."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        mid = out_channels // 4
        self.stream1 = nn.Sequential(conv(in_channels, mid), conv(mid, mid, 3, 2))
        self.stream2 = nn.Sequential(conv(in_channels, mid), conv(mid, mid, 3), conv(mid, mid, 3, 2))
        self.stream3 = nn.Sequential(nn.MaxPool2d(3, 2, 1), conv(in_channels, 2 * mid))

    def forward(self, x: Tensor) -> Tensor:
        """Run all streams: (N, in, h, w) -> (N, out, h/2, w/2)."""
        return torch.cat((self.stream1(x), self.stream2(x), self.stream3(x)), 1)  # (N, in, h, w) -> (N, out, h/2, w/2)


class SpatialAttention(nn.Module):
    """Pixel-wise: which places matter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(1, 1, 3, 2)
        self.conv2 = conv(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Score each place: (N, C, h, w) -> (N, 1, h, w)."""
        mean = x.mean(1, keepdim=True)  # (N, C, h, w) -> (N, 1, h, w)
        coarse = self.conv1(mean)  # -> (N, 1, h/2, w/2)
        return self.conv2(_resize(coarse, x.shape[-2:]))  # -> (N, 1, h, w)


class ChannelAttention(nn.Module):
    """Scale-wise: which channels matter."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels // REDUCTION)
        self.conv2 = conv(channels // REDUCTION, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Score each channel: (N, C, h, w) -> (N, C, 1, 1)."""
        return self.conv2(self.conv1(global_average(x)[:, :, None, None]))  # (N, C, h, w) -> (N, C, 1, 1)


class SoftAttention(nn.Module):
    """Places times channels, mixed, in (0, 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial_attn = SpatialAttention()
        self.channel_attn = ChannelAttention(channels)
        self.conv = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh each place of each channel: (N, C, h, w) -> (N, C, h, w)."""
        return self.conv(self.spatial_attn(x) * self.channel_attn(x)).sigmoid()


class HardAttention(nn.Module):
    """Part-wise: where each region's centre lies, x and y in (-1, 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, REGIONS * 2)

    def forward(self, x: Tensor) -> Tensor:
        """Choose the centre of each region: (N, C, h, w) -> (N, 4, 2)."""
        return self.fc(global_average(x)).tanh().unflatten(1, (REGIONS, 2))  # (N, C, h, w) -> (N, 4, 2)

    def start_evenly(self) -> None:
        """Start with the regions spread over the height, wherever the image leads later."""
        nn.init.zeros_(self.fc.weight)
        centres = [(0.0, (2 * region + 1) / REGIONS - 1) for region in range(REGIONS)]
        with torch.no_grad():
            self.fc.bias.copy_(torch.tensor(centres).flatten())


class HarmoniousAttention(nn.Module):
    """Soft attention for the global branch, hard attention for the local ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.soft_attn = SoftAttention(channels)
        self.hard_attn = HardAttention(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The attended map and the regions' centres: (N, C, h, w) -> (N, C, h, w), (N, 4, 2)."""
        return x * self.soft_attn(x), self.hard_attn(x)


class HACNN(ReidModel):
    """A global branch of three stages, and four local branches that look where it tells them to.

    The local branches share their blocks. The embedding is the global and the local feature, one behind the other;
    in eval mode each has unit length.
    """

    input_size = (160, 64)

    def __init__(self, num_classes: int) -> None:
        super().__init__(2 * BRANCH_DIM, num_classes)
        stem = 32
        first, second, third = CHANNELS
        self.conv = conv(3, stem, 3, 2)
        self.inception1 = nn.Sequential(InceptionA(stem, first), InceptionB(first, first))
        self.ha1 = HarmoniousAttention(first)
        self.inception2 = nn.Sequential(InceptionA(first, second), InceptionB(second, second))
        self.ha2 = HarmoniousAttention(second)
        self.inception3 = nn.Sequential(InceptionA(second, third), InceptionB(third, third))
        self.ha3 = HarmoniousAttention(third)
        self.fc_global = embedding_layer(third, BRANCH_DIM)
        self.classifier_global = nn.Linear(BRANCH_DIM, num_classes)
        self.local_conv1 = InceptionB(stem, first)
        self.local_conv2 = InceptionB(first, second)
        self.local_conv3 = InceptionB(second, third)
        self.fc_local = embedding_layer(third * REGIONS, BRANCH_DIM)
        self.classifier_local = nn.Linear(BRANCH_DIM, num_classes)

    def initialise_rest(self) -> None:
        """Spread the regions over the height."""
        for attention in (self.ha1, self.ha2, self.ha3):
            attention.hard_attn.start_evenly()

    def feature_maps(self, images: Tensor) -> Tensor:
        """The last feature map of the global branch: (N, 3, 160, 64) -> (N, 384, 10, 4)."""
        return self._global_branch(images)[0][-1]

    def embed(self, images: Tensor) -> Tensor:
        """Join the global and the local feature: (N, 3, 160, 64) -> (N, 1024)."""
        maps, centres = self._global_branch(images)
        whole = self.fc_global(global_average(maps[-1]))  # (N, 384, 10, 4) -> (N, 512)
        regions = [self._local_branch(maps, [c[:, region] for c in centres]) for region in range(REGIONS)]
        parts = self.fc_local(torch.cat(regions, 1))  # 4 x (N, 384) -> (N, 512)
        if not self.training:
            whole, parts = _unit(whole), _unit(parts)
        return torch.cat((whole, parts), 1)  # -> (N, 1024)

    def classify(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of both classifiers, global and local: (N, 1024) -> (N, num_classes), (N, num_classes).

        They were trained on features of any length, as train mode gives them; of an embedding made in eval mode they
        see the direction alone.
        """
        whole, parts = embedding.tensor_split(2, 1)
        return self.classifier_global(whole), self.classifier_local(parts)

    def _global_branch(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The maps behind the stem and each stage, and each stage's centres of regions.

        Raises:
            UsageError: the images are not 160 x 64 pixels.
        """
        _check_size(images, self.input_size)
        maps = [self.conv(images)]  # (N, 3, 160, 64) -> (N, 32, 80, 32)
        centres = []
        stages = ((self.inception1, self.ha1), (self.inception2, self.ha2), (self.inception3, self.ha3))
        for inception, attention in stages:
            attended, stage_centres = attention(inception(maps[-1]))  # (N, in, h, w) -> (N, out, h/2, w/2), (N, 4, 2)
            maps.append(attended)
            centres.append(stage_centres)
        return maps, centres

    def _local_branch(self, maps: list[Tensor], centres: list[Tensor]) -> Tensor:
        """One region, seen at all stages: centres (N, 2) of each stage -> (N, 384)."""
        x = self.local_conv1(_cut(maps[0], centres[0], REGION_SIZES[0]))  # -> (N, 128, 12, 14)
        x = self.local_conv2(x + _cut(maps[1], centres[1], REGION_SIZES[1]))  # -> (N, 256, 6, 7)
        x = self.local_conv3(x + _cut(maps[2], centres[2], REGION_SIZES[2]))  # -> (N, 384, 3, 4)
        return global_average(x)


@torch.fx.wrap
def _check_size(images: Tensor, expected: tuple[int, int]) -> None:
    """The regions' sizes fit one input size alone."""
    height, width = images.shape[-2:]
    if (height, width) != expected:
        raise UsageError(f"hacnn takes images of {expected[0]} x {expected[1]} pixels, got {height} x {width}")


@torch.fx.wrap
def _cut(maps: Tensor, centres: Tensor, size: tuple[int, int]) -> Tensor:
    """The region around ``centres``, cut by a spatial transformer: (N, C, h, w) -> (N, C, *size).

    It is sampled at the map's own height and width first and resized then, as published. The published definition
    leaves ``align_corners`` to PyTorch, whose default was True before version 1.3 and is False since; False is what
    the contract's features were computed with.
    """
    height, width = maps.shape[-2:]
    rows = _pixel_centres(height, maps) * REGION_HEIGHT + centres[:, 1:]  # (h,), (N, 1) -> (N, h)
    columns = _pixel_centres(width, maps) + centres[:, :1]  # (w,), (N, 1) -> (N, w)
    shape = (-1, height, width)
    grid = torch.stack((columns[:, None].expand(shape), rows[:, :, None].expand(shape)), -1)  # -> (N, h, w, 2)
    return _resize(F.grid_sample(maps, grid, align_corners=False), size)


def _pixel_centres(count: int, like: Tensor) -> Tensor:
    """Where ``count`` pixels lie on a side that runs from -1 to 1: (count,)."""
    return (2 * torch.arange(count, dtype=like.dtype, device=like.device) + 1) / count - 1


@torch.fx.wrap
def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, corner pixels on corner pixels: (N, C, h, w) -> (N, C, *size)."""
    return F.interpolate(maps, size=list(size), mode="bilinear", align_corners=True)


def _unit(features: Tensor) -> Tensor:
    """Each row at length 1: (N, D) -> (N, D)."""
    return features / features.norm(dim=1, keepdim=True)


hacnn = HACNN
