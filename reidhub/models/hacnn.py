"""HA-CNN: Harmonious Attention Network for Person Re-Identification, arXiv 1802.08122.

The functions with the decorator `torch.fx.wrap` use the sizes of tensors, which are unknown while `torch.fx` traces the
model. The decorator makes each call of such a function one node of the traced graph.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from reidhub.errors import UsageError
from reidhub.models.base import ReidModel
from reidhub.models.blocks import ConvNorm, make_embedding_layer, pool_average

REGIONS = 4  # horizontal regions of an image, one for each local branch
REGION_HEIGHT = 1 / REGIONS  # as a part of the image height; a region is as wide as the image
CHANNELS = (128, 256, 384)  # channels of the three stages
REGION_SIZES = ((24, 28), (12, 14), (6, 7))  # (height, width) to which a region is resized at each stage
REDUCTION = 16  # the channel attention reduces its channels by this factor
BRANCH_DIM = 512  # length of the global feature and of the local feature

conv = partial(ConvNorm, bias=True)


class InceptionA(nn.Module):
    """The paper's Inception-A: concatenates the output of four streams, each with a quarter of the channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        mid = out_channels // 4
        self.stream1 = nn.Sequential(conv(in_channels, mid), conv(mid, mid, 3))
        self.stream2 = nn.Sequential(conv(in_channels, mid), conv(mid, mid, 3))
        self.stream3 = nn.Sequential(conv(in_channels, mid), conv(mid, mid, 3))
        self.stream4 = nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(in_channels, mid))

    def forward(self, x: Tensor) -> Tensor:
        """Run and concatenate all streams: (N, in, h, w) -> (N, out, h, w)."""
        return torch.cat((self.stream1(x), self.stream2(x), self.stream3(x), self.stream4(x)), 1)  # -> (N, out, h, w)


class InceptionB(nn.Module):
    """The paper's Inception-B: concatenates the output of three streams that halve height and width."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        mid = out_channels // 4
        self.stream1 = nn.Sequential(conv(in_channels, mid), conv(mid, mid, 3, 2))
        self.stream2 = nn.Sequential(conv(in_channels, mid), conv(mid, mid, 3), conv(mid, mid, 3, 2))
        self.stream3 = nn.Sequential(nn.MaxPool2d(3, 2, 1), conv(in_channels, 2 * mid))

    def forward(self, x: Tensor) -> Tensor:
        """Run and concatenate all streams: (N, in, h, w) -> (N, out, h/2, w/2)."""
        return torch.cat((self.stream1(x), self.stream2(x), self.stream3(x)), 1)  # (N, in, h, w) -> (N, out, h/2, w/2)


class SpatialAttention(nn.Module):
    """The paper's spatial attention: computes one weight for each position of the feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(1, 1, 3, 2)
        self.conv2 = conv(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute a weight for each position: (N, C, h, w) -> (N, 1, h, w)."""
        mean = x.mean(1, keepdim=True)  # (N, C, h, w) -> (N, 1, h, w)
        coarse = self.conv1(mean)  # -> (N, 1, h/2, w/2)
        return self.conv2(_resize(coarse, x.shape[-2:]))  # -> (N, 1, h, w)


class ChannelAttention(nn.Module):
    """The paper's channel attention: computes one weight for each channel of the feature map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels // REDUCTION)
        self.conv2 = conv(channels // REDUCTION, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Compute a weight for each channel: (N, C, h, w) -> (N, C, 1, 1)."""
        return self.conv2(self.conv1(pool_average(x)[:, :, None, None]))  # (N, C, h, w) -> (N, C, 1, 1)


class SoftAttention(nn.Module):
    """Computes weights in (0, 1): the product of spatial and channel attention, then a convolution and a sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial_attn = SpatialAttention()
        self.channel_attn = ChannelAttention(channels)
        self.conv = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Compute a weight for each position of each channel: (N, C, h, w) -> (N, C, h, w)."""
        scores = self.spatial_attn(x) * self.channel_attn(x)  # (N, 1, h, w), (N, C, 1, 1) -> (N, C, h, w)
        return self.conv(scores).sigmoid()


class HardAttention(nn.Module):
    """The paper's regional attention: computes the centre of each region, x and y in (-1, 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, REGIONS * 2)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the centre (x, y) of each region: (N, C, h, w) -> (N, 4, 2)."""
        return self.fc(pool_average(x)).tanh().unflatten(1, (REGIONS, 2))  # (N, C, h, w) -> (N, 4, 2)

    def spread_regions(self) -> None:
        """Set the weights of ``fc`` so that, for every image, the four regions are spread evenly over the height."""
        nn.init.zeros_(self.fc.weight)
        centres = [(0.0, (2 * region + 1) / REGIONS - 1) for region in range(REGIONS)]
        with torch.no_grad():
            self.fc.bias.copy_(torch.tensor(centres).flatten())


class HarmoniousAttention(nn.Module):
    """Computes soft attention for the global branch, and hard attention for the local branches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.soft_attn = SoftAttention(channels)
        self.hard_attn = HardAttention(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted feature map and the regions' centres: (N, C, h, w) -> (N, C, h, w), (N, 4, 2)."""
        return x * self.soft_attn(x), self.hard_attn(x)


class HACNN(ReidModel):
    """HA-CNN: a global branch with three stages, and four local branches, each for one region of the image.

    The global branch chooses the regions. The local branches share their blocks. The embedding is the global feature
    followed by the local feature; in eval mode each of the two features has unit length.
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
        self.fc_global = make_embedding_layer(third, BRANCH_DIM)
        self.classifier_global = nn.Linear(BRANCH_DIM, num_classes)
        self.local_conv1 = InceptionB(stem, first)
        self.local_conv2 = InceptionB(first, second)
        self.local_conv3 = InceptionB(second, third)
        self.fc_local = make_embedding_layer(third * REGIONS, BRANCH_DIM)
        self.classifier_local = nn.Linear(BRANCH_DIM, num_classes)

    def initialise_rest(self) -> None:
        """Initialise the hard attention so that the regions are spread evenly over the image height."""
        for attention in (self.ha1, self.ha2, self.ha3):
            attention.hard_attn.spread_regions()

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the last feature map of the global branch: (N, 3, 160, 64) -> (N, 384, 10, 4)."""
        return self._run_global_branch(images)[0][-1]

    def embed(self, images: Tensor) -> Tensor:
        """Compute and concatenate the global and the local feature: (N, 3, 160, 64) -> (N, 1024)."""
        maps, centres = self._run_global_branch(images)
        whole = self.fc_global(pool_average(maps[-1]))  # (N, 384, 10, 4) -> (N, 512)
        regions = [self._run_local_branch(maps, [c[:, region] for c in centres]) for region in range(REGIONS)]
        parts = self.fc_local(torch.cat(regions, 1))  # 4 x (N, 384) -> (N, 512)
        if not self.training:
            whole, parts = _normalise(whole), _normalise(parts)
        return torch.cat((whole, parts), 1)  # -> (N, 1024)

    def classify(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the scores of the global and of the local classifier: (N, 1024) -> 2 x (N, num_classes).

        The classifiers are trained on the features of train mode, which are not scaled to unit length. Embeddings of
        eval mode therefore give other scores.
        """
        whole, parts = embedding.tensor_split(2, 1)
        return self.classifier_global(whole), self.classifier_local(parts)

    def __prepare_scriptable__(self) -> nn.Module:
        """Raise an error, because TorchScript cannot compile the functions of this model.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "torch.jit.script cannot compile hacnn",
            hint="use torch.jit.trace(model.eval(), images) or torch.export.export(model.eval(), (images,))",
        )

    def _run_global_branch(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return two lists: the output maps of the stem and of the stages, and the region centres of each stage.

        Shapes: (N, 3, 160, 64) -> 4 x (N, C, h, w), 3 x (N, 4, 2).

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

    def _run_local_branch(self, maps: list[Tensor], centres: list[Tensor]) -> Tensor:
        """Compute the feature of one region: (N, 384).

        Args:
            maps: output maps of the stem and of the stages, 4 x (N, C, h, w); the last one is not used.
            centres: centre (x, y) of the region in each of the first three maps, 3 x (N, 2), in (-1, 1).
        """
        x = self.local_conv1(_crop_region(maps[0], centres[0], REGION_SIZES[0]))  # -> (N, 128, 12, 14)
        x = self.local_conv2(x + _crop_region(maps[1], centres[1], REGION_SIZES[1]))  # -> (N, 256, 6, 7)
        x = self.local_conv3(x + _crop_region(maps[2], centres[2], REGION_SIZES[2]))  # -> (N, 384, 3, 4)
        return pool_average(x)  # (N, 384, 3, 4) -> (N, 384)


@torch.fx.wrap
def _check_size(images: Tensor, expected: tuple[int, int]) -> None:
    """Raise UsageError unless the images have the ``expected`` size; `REGION_SIZES` are right only for this size."""
    height, width = images.shape[-2:]
    if (height, width) != expected:
        raise UsageError(f"hacnn takes images of {expected[0]} x {expected[1]} pixels, got {height} x {width}")


@torch.fx.wrap
def _crop_region(maps: Tensor, centres: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut out the region around ``centres`` with a spatial transformer: (N, C, h, w) -> (N, C, *size).

    As in the published code, the region is first sampled at the map's own height and width, then resized. That code
    uses PyTorch's default for ``align_corners``, which was True before version 1.3 and is False since then. False is
    used here, because the reference features of the tests were computed with False.
    """
    height, width = maps.shape[-2:]
    rows = _find_pixel_centres(height, maps) * REGION_HEIGHT + centres[:, 1:]  # (h,), (N, 1) -> (N, h)
    columns = _find_pixel_centres(width, maps) + centres[:, :1]  # (w,), (N, 1) -> (N, w)
    shape = (-1, height, width)
    grid = torch.stack((columns[:, None].expand(shape), rows[:, :, None].expand(shape)), -1)  # -> (N, h, w, 2)
    return _resize(F.grid_sample(maps, grid, align_corners=False), size)  # -> (N, C, *size)


def _find_pixel_centres(count: int, like: Tensor) -> Tensor:
    """Return the centres of ``count`` pixels on an axis from -1 to 1: (count,), with dtype and device of ``like``."""
    return (2 * torch.arange(count, dtype=like.dtype, device=like.device) + 1) / count - 1


@torch.fx.wrap
def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize bilinearly; the centres of the corner pixels stay in place: (N, C, h, w) -> (N, C, *size)."""
    return F.interpolate(maps, size=list(size), mode="bilinear", align_corners=True)


def _normalise(features: Tensor) -> Tensor:
    """Scale each row to length 1: (N, D) -> (N, D)."""
    return features / features.norm(dim=1, keepdim=True)


hacnn = HACNN
