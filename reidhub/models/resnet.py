"""ResNet-50: Deep Residual Learning for Image Recognition, arXiv 1512.03385.

As in torchvision, the 3x3 convolution of a block has the stride. In the paper, the first 1x1 convolution has it. The
block is defined here, because importing torchvision's models takes about 3 s.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from reidhub.models.base import ReidModel
from reidhub.models.blocks import make_embedding_layer

WIDTH = 2048  # channels of the last stage
EXPANSION = 4  # a block has this many times more output channels than its 3x3 convolution


class Bottleneck(nn.Module):
    """The block in figure 5 of the paper, on the right: reduces the channels, filters, and restores the channels.

    Args:
        in_channels: channels of the input.
        width: channels of the 3x3 convolution.
        stride: stride of the 3x3 convolution.
        downsample: gives the input the shape of the output; None if it already has this shape.
        norm: creates the first normalisation from the number of channels.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * EXPANSION)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: (N, in, h, w) -> (N, 4 width, h/stride, w/stride)."""
        out = self.relu(self.bn1(self.conv1(x)))  # (N, in, h, w) -> (N, width, h, w)
        out = self.relu(self.bn2(self.conv2(out)))  # -> (N, width, h/stride, w/stride)
        out = self.bn3(self.conv3(out))  # -> (N, 4 width, h/stride, w/stride)
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet50(ReidModel):
    """ResNet-50 as in table 1 of the paper.

    Args:
        num_classes: rows of the classifier.
        last_stride: stride of the last stage; 1 makes its feature map twice as high and wide.
        embedding_dim: outputs of a fully connected layer after pooling, which computes the embedding. None for no such
            layer; the embedding is then the pooled feature map, of length 2048.
    """

    def __init__(self, num_classes: int, *, last_stride: int = 2, embedding_dim: int | None = None) -> None:
        super().__init__(embedding_dim or WIDTH, num_classes)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = make_stage(64, 64, 3)
        self.layer2 = make_stage(256, 128, 4, stride=2)
        self.layer3 = make_stage(512, 256, 6, stride=2)
        self.layer4 = make_stage(1024, 512, 3, stride=last_stride)
        if embedding_dim is not None:
            self.fc = make_embedding_layer(WIDTH, embedding_dim)
        self.classifier = nn.Linear(self.embedding_dim, num_classes)

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the last feature map: (N, 3, H, W) -> (N, 2048, H/32, W/32); H/16, W/16 if ``last_stride`` is 1."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))  # (N, 3, H, W) -> (N, 64, H/4, W/4)
        x = self.layer2(self.layer1(x))  # -> (N, 512, H/8, W/8)
        return self.layer4(self.layer3(x))  # -> (N, 2048, H/32, W/32), or H/16, W/16 if `last_stride` is 1


def make_stage(
    in_channels: int,
    width: int,
    blocks: int,
    *,
    stride: int = 1,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
) -> nn.Sequential:
    """Create a stage; its first block changes the shape: (N, in, h, w) -> (N, 4 width, h/stride, w/stride)."""
    out_channels = width * EXPANSION
    downsample = nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )
    first = Bottleneck(in_channels, width, stride, downsample, norm)
    return nn.Sequential(first, *(Bottleneck(out_channels, width, norm=norm) for _ in range(blocks - 1)))


resnet50 = ResNet50
resnet50_fc512 = partial(ResNet50, last_stride=1, embedding_dim=512)
