"""Building blocks that several architectures share.

The names of their attributes must not change, because the published checkpoint files use them as keys.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """A convolution, optionally followed by a normalisation and an activation.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: height and width of the kernel, an odd number. At stride 1 the padding keeps height and width.
        stride: stride of the convolution.
        groups: groups of the convolution.
        bias: True for a convolution with a bias. Normalisation makes a bias useless, but some published files have one.
        norm: creates the normalisation layer from the number of channels; None for no normalisation.
        activation: creates the activation layer; None for no activation.
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
            self.bn = norm(out_channels)  # key in the published file, even if this is an instance normalisation
        if activation is not None:
            self.activation = activation(inplace=True)


def make_instance_norm(channels: int) -> nn.InstanceNorm2d:
    """Create an instance normalisation with a learnt scale and shift, which `torch.nn` omits by default."""
    return nn.InstanceNorm2d(channels, affine=True)


def make_embedding_layer(in_features: int, out_features: int) -> nn.Sequential:
    """Create the fully connected layer between pooling and classifier: (N, in_features) -> (N, out_features)."""
    return nn.Sequential(nn.Linear(in_features, out_features), nn.BatchNorm1d(out_features), nn.ReLU(inplace=True))


def pool_average(maps: Tensor) -> Tensor:
    """Average over height and width: (N, C, h, w) -> (N, C)."""
    return F.adaptive_avg_pool2d(maps, 1).flatten(1)  # (N, C, h, w) -> (N, C)
