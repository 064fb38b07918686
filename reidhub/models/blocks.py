"""Building blocks that several families share; their attributes are keys of the published files."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """A convolution, a normalisation and an activation, the last two where wanted.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel; odd, and padded so that stride 1 keeps height and width.
        stride: of the convolution.
        groups: of the convolution.
        bias: True where the published file keeps a bias that the normalisation makes redundant.
        norm: makes the normalisation from its number of channels; None for none.
        activation: makes the activation; None for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        bias: bool = False,
        norm: Callable[[int], nn.Module] | None = nn.BatchNorm2d,
        activation: Callable[..., nn.Module] | None = nn.ReLU,
    ) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias)
        if norm is not None:
            self.bn = norm(out_channels)  # key of the published file, also where it is an instance normalisation
        if activation is not None:
            self.activation = activation(inplace=True)


def instance_norm(channels: int) -> nn.InstanceNorm2d:
    """Instance normalisation with a learnt scale and shift, which `torch.nn` leaves out by default."""
    return nn.InstanceNorm2d(channels, affine=True)


def embedding_layer(in_features: int, out_features: int) -> nn.Sequential:
    """A fully connected layer between pooling and classifier: (N, in_features) -> (N, out_features)."""
    return nn.Sequential(nn.Linear(in_features, out_features), nn.BatchNorm1d(out_features), nn.ReLU(inplace=True))


def global_average(maps: Tensor) -> Tensor:
    """The mean over all places: (N, C, h, w) -> (N, C)."""
    return F.adaptive_avg_pool2d(maps, 1).flatten(1)
