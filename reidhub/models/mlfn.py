"""MLFN: Multi-Level Factorisation Net for Person Re-Identification, arXiv 1803.09132."""

import torch
from torch import Tensor, nn

from reidhub.models.base import ReidModel
from reidhub.models.blocks import pool_average

FACTORS = 32  # factor modules of a block; each is one group of the block's 3x3 convolution
STAGES = (
    (256, 3, 1, (128, 64)),
    (512, 4, 2, (256, 128)),
    (1024, 6, 2, (512, 128)),
    (2048, 3, 2, (512, 128)),
)
"""For each stage: channels, number of blocks, stride of the first block, hidden channels of the factor selection."""
EMBEDDING_DIM = 1024


class MLFNBlock(nn.Module):
    """A block of factor modules (``fm``); for each image, the factor selection module (``fsm``) weighs them."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, hidden: tuple[int, int]) -> None:
        super().__init__()
        mid = out_channels // 2
        self.fm_conv1 = nn.Conv2d(in_channels, mid, 1, bias=False)
        self.fm_bn1 = nn.BatchNorm2d(mid)
        self.fm_conv2 = nn.Conv2d(mid, mid, 3, stride, padding=1, groups=FACTORS, bias=False)
        self.fm_bn2 = nn.BatchNorm2d(mid)
        self.fm_conv3 = nn.Conv2d(mid, out_channels, 1, bias=False)
        self.fm_bn3 = nn.BatchNorm2d(out_channels)
        self.fsm = _make_factor_selection(in_channels, hidden)
        same = in_channels == out_channels and stride == 1
        self.downsample = (
            None if same else nn.Sequential(*_make_conv_norm(in_channels, out_channels, stride, bias=False))
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature map and the weights of the factor modules.

        Shapes: (N, in, h, w) -> (N, out, h/stride, w/stride), (N, 32, 1, 1).
        """
        selection = self.fsm(x)  # (N, in, h, w) -> (N, 32, 1, 1)
        out = self.fm_bn1(self.fm_conv1(x)).relu()  # -> (N, mid, h, w)
        out = self.fm_bn2(self.fm_conv2(out)).relu()  # -> (N, mid, h/stride, w/stride)
        out = out * selection.repeat_interleave(out.shape[1] // FACTORS, 1)  # each weight for its group of channels
        out = self.fm_bn3(self.fm_conv3(out)).relu()  # -> (N, out, h/stride, w/stride)
        identity = x if self.downsample is None else self.downsample(x)  # -> (N, out, h/stride, w/stride)
        return (identity + out).relu(), selection


def _make_conv_norm(in_channels: int, out_channels: int, stride: int = 1, *, bias: bool = True) -> list[nn.Module]:
    """Create a 1x1 convolution and its normalisation: (N, in, h, w) -> (N, out, h/stride, w/stride)."""
    return [nn.Conv2d(in_channels, out_channels, 1, stride, bias=bias), nn.BatchNorm2d(out_channels)]


def _make_factor_selection(in_channels: int, hidden: tuple[int, int]) -> nn.Sequential:
    """Create a module that computes the weights of the factors, in (0, 1): (N, in, h, w) -> (N, 32, 1, 1)."""
    first, second = hidden
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        *_make_conv_norm(in_channels, first),
        nn.ReLU(inplace=True),
        *_make_conv_norm(first, second),
        nn.ReLU(inplace=True),
        *_make_conv_norm(second, FACTORS),
        nn.Sigmoid(),
    )


class MLFN(ReidModel):
    """MLFN with 16 blocks. The embedding is the mean of two projections.

    One projects the last feature map. The other projects the factor signature, which is the concatenated output of the
    factor selection modules of all blocks.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(EMBEDDING_DIM, num_classes)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.feature = nn.ModuleList(_make_blocks())
        channels = STAGES[-1][0]
        self.fc_x = _make_projection(channels)
        self.fc_s = _make_projection(FACTORS * len(self.feature))
        self.classifier = nn.Linear(EMBEDDING_DIM, num_classes)

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the last feature map: (N, 3, H, W) -> (N, 2048, H/32, W/32)."""
        return self._run_blocks(images)[0]

    def embed(self, images: Tensor) -> Tensor:
        """Compute the embeddings, the mean of both projections: (N, 3, H, W) -> (N, 1024)."""
        maps, selections = self._run_blocks(images)
        pooled = pool_average(maps)[:, :, None, None]  # (N, 2048, h, w) -> (N, 2048, 1, 1)
        return ((self.fc_x(pooled) + self.fc_s(selections)) * 0.5).flatten(1)  # -> (N, 1024)

    def _run_blocks(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last feature map and the factor signature.

        Shapes: (N, 3, H, W) -> (N, 2048, H/32, W/32), (N, 512, 1, 1).
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))  # (N, 3, H, W) -> (N, 64, H/4, W/4)
        selections = []
        for block in self.feature:
            x, selection = block(x)
            selections.append(selection)
        return x, torch.cat(selections, 1)  # 16 x (N, 32, 1, 1) -> (N, 512, 1, 1)


def _make_blocks() -> list[MLFNBlock]:
    """Create the blocks of all stages; the first block of a stage changes the shape."""
    blocks = []
    in_channels = 64
    for channels, count, first_stride, hidden in STAGES:
        for stride in (first_stride, *[1] * (count - 1)):
            blocks.append(MLFNBlock(in_channels, channels, stride, hidden))
            in_channels = channels
    return blocks


def _make_projection(in_channels: int) -> nn.Sequential:
    """Create a projection to the embedding: (N, in, 1, 1) -> (N, 1024, 1, 1)."""
    return nn.Sequential(*_make_conv_norm(in_channels, EMBEDDING_DIM, bias=False), nn.ReLU(inplace=True))


mlfn = MLFN
