"""The models of fast-reid: FastReID, a Pytorch Toolbox for General Instance Re-identification, arXiv 2006.02631.

- ``bot``: Bag of Tricks and a Strong Baseline for Deep Person Re-identification, arXiv 1903.07071.
- ``agw``: Deep Learning for Person Re-identification, arXiv 2001.04193.
- ``sbs``: the network of ``agw`` for larger images, trained in another way.

All have a batch normalisation, the *neck*, between pooling and classifier. In all, the last stage has stride 1. The
definitions are those of July 2020, when most of the checkpoints were published. fast-reid's code has changed since, and
gives other embeddings with the same weights. Only ``sbs_s50_2021`` is a network of the newer code.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from reidhub.models.base import ReidModel
from reidhub.models.resnest import make_resnest_stages, make_resnest_stem
from reidhub.models.resnet import WIDTH, make_stage

SMALLEST = 1e-6  # lower bound of the values that `GeM` raises to a power
NON_LOCAL_BLOCKS = {50: (2, 3), 101: (2, 9)}  # depth -> numbers of `NonLocal` blocks in layer2 and in layer3


class IBN(nn.Module):
    """IBN-a: instance normalisation for the first half of the channels, batch normalisation for the second half.

    Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net, arXiv 1807.09441.

    Args:
        channels: channels of the input, an even number.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.IN = nn.InstanceNorm2d(channels // 2, affine=True)  # keys of the published files
        self.BN = nn.BatchNorm2d(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise: (N, C, h, w) -> (N, C, h, w)."""
        first, second = x.chunk(2, 1)  # (N, C, h, w) -> 2 x (N, C/2, h, w)
        return torch.cat((self.IN(first), self.BN(second)), 1)


class NonLocal(nn.Module):
    """A non-local block with dot products and one inner channel: Non-local Neural Networks, arXiv 1711.07971.

    At each place i, the block adds W(y_i) to the map, where y_i is the mean of theta_i phi_j g_j over all places j.
    With one inner channel, theta_i is one number and is multiplied after the mean, so no matrix product is needed.

    Args:
        channels: channels of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Conv2d(channels, 1, 1)
        self.W = nn.Sequential(nn.Conv2d(1, channels, 1), nn.BatchNorm2d(channels))
        self.theta = nn.Conv2d(channels, 1, 1)
        self.phi = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Add the response to the map: (N, C, h, w) -> (N, C, h, w)."""
        mean = (self.phi(x) * self.g(x)).mean((2, 3), keepdim=True)  # (N, C, h, w) -> (N, 1, 1, 1)
        return x + self.W(self.theta(x) * mean)  # (N, 1, h, w) -> (N, C, h, w)

    @torch.no_grad()
    def initialise(self) -> None:
        """Set, in place, weights with which the block returns its input unchanged, as the paper proposes."""
        for parameter in self.W[1].parameters():
            parameter.zero_()


class GeM(nn.Module):
    """Generalised mean pooling with a learnt exponent p: mean(max(x, 1e-6)^p)^(1/p), arXiv 1711.02512.

    The values are divided by the largest one of their channel before the power, and multiplied by it afterwards.
    Otherwise a power above 65504 would overflow in float16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.empty(1))
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Set the exponent to 3, in place."""
        self.p.fill_(3)

    def forward(self, maps: Tensor) -> Tensor:
        """Pool: (N, C, h, w) -> (N, C, 1, 1)."""
        positive = maps.clamp(min=SMALLEST)
        largest = positive.amax((2, 3), keepdim=True)  # (N, C, h, w) -> (N, C, 1, 1)
        mean = (positive / largest).pow(self.p).mean((2, 3), keepdim=True)  # -> (N, C, 1, 1)
        return largest * mean.pow(1 / self.p)


class Neck(nn.Module):
    """Pooling, if any, then the batch normalisation that gives the embedding, and the classifier.

    Args:
        channels: length of the embedding.
        num_classes: rows of the classifier.
        pool: (N, C, h, w) -> (N, C, 1, 1); None if the input is already pooled.
    """

    def __init__(self, channels: int, num_classes: int, pool: nn.Module | None = None) -> None:
        super().__init__()
        self.pool_layer = pool
        self.bnneck = nn.BatchNorm1d(channels)
        self.bnneck.bias.requires_grad_(False)  # it stays 0: the classifier has no bias either
        self.classifier = nn.Linear(channels, num_classes, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Compute embeddings, not of unit length: (N, C, h, w) -> (N, C)."""
        pooled = maps if self.pool_layer is None else self.pool_layer(maps)
        return self.bnneck(pooled.flatten(1))  # (N, C, 1, 1) -> (N, C)


class Backbone(nn.Module):
    """Stem and four stages; in ``layer2`` and ``layer3``, non-local blocks can follow the last residual blocks.

    Args:
        conv1: the first convolutions of the stem, (N, 3, H, W) -> (N, 64, H/2, W/2).
        stages: the four stages; their outputs have 256, 512, 1024 and 2048 channels.
        non_local_blocks: numbers of non-local blocks in ``layer2`` and in ``layer3``.
    """

    def __init__(
        self, conv1: nn.Module, stages: list[nn.Sequential], non_local_blocks: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        self.conv1 = conv1
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.NL_2 = nn.ModuleList(NonLocal(512) for _ in range(non_local_blocks[0]))  # keys of the published files
        self.NL_3 = nn.ModuleList(NonLocal(1024) for _ in range(non_local_blocks[1]))

    def forward(self, images: Tensor) -> Tensor:
        """Compute the last feature map: (N, 3, H, W) -> (N, 2048, H/16, W/16)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))  # (N, 3, H, W) -> (N, 64, H/4, W/4)
        x = _run_stage(self.layer2, self.NL_2, self.layer1(x))  # -> (N, 512, H/8, W/8)
        return self.layer4(_run_stage(self.layer3, self.NL_3, x))  # -> (N, 2048, H/16, W/16)


def _run_stage(stage: nn.Sequential, attention: nn.ModuleList, x: Tensor) -> Tensor:
    """Run the blocks of a stage; the last ones are each followed by a non-local block."""
    first = len(stage) - len(attention)
    for index, block in enumerate(stage):
        x = block(x)
        if index >= first:
            x = attention[index - first](x)
    return x


def make_resnet(depth: int, *, ibn: bool = False, non_local: bool = False) -> Backbone:
    """Create a ResNet; IBN is in its first three stages.

    Args:
        depth: number of layers, 50 or 101.
        ibn: True for `IBN` in ``layer1``, ``layer2`` and ``layer3``.
        non_local: True for non-local blocks.
    """
    norm: Callable[[int], nn.Module] = IBN if ibn else nn.BatchNorm2d
    stages = [
        make_stage(64, 64, 3, norm=norm),
        make_stage(256, 128, 4, stride=2, norm=norm),
        make_stage(512, 256, 23 if depth == 101 else 6, stride=2, norm=norm),
        make_stage(1024, 512, 3),
    ]
    return Backbone(nn.Conv2d(3, 64, 7, 2, 3, bias=False), stages, NON_LOCAL_BLOCKS[depth] if non_local else (0, 0))


def make_resnest(*, non_local: bool = False, dilation: int = 1) -> Backbone:
    """Create a ResNeSt-50.

    Args:
        non_local: True for non-local blocks.
        dilation: dilation of the last stage.
    """
    return Backbone(make_resnest_stem(), make_resnest_stages(dilation), NON_LOCAL_BLOCKS[50] if non_local else (0, 0))


class FastReid(ReidModel):
    """Backbone, pooling and neck.

    Args:
        make_backbone: creates the backbone.
        num_classes: rows of the classifier.
        gem: True for generalised mean pooling; False for average pooling.
        input_size: (height, width) of the images, in pixels.
    """

    def __init__(
        self,
        make_backbone: Callable[[], Backbone],
        num_classes: int,
        *,
        gem: bool = True,
        input_size: tuple[int, int] = (256, 128),
    ) -> None:
        super().__init__(WIDTH, num_classes)
        self.input_size = input_size
        self.backbone = make_backbone()
        self.heads = Neck(WIDTH, num_classes, GeM() if gem else nn.AdaptiveAvgPool2d(1))

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the last feature map: (N, 3, H, W) -> (N, 2048, H/16, W/16)."""
        return self.backbone(images)

    def embed(self, images: Tensor) -> Tensor:
        """Compute the embeddings, which the neck gives: (N, 3, H, W) -> (N, 2048)."""
        return self.heads(self.feature_maps(images))

    def classify(self, embedding: Tensor) -> Tensor:
        """Compute the scores of the training classes from embeddings: (N, 2048) -> (N, num_classes)."""
        return self.heads.classifier(embedding)

    def initialise_rest(self) -> None:
        """Set the initial values of poolings and non-local blocks, in place."""
        initialise_parts(self)


def initialise_parts(model: nn.Module) -> None:
    """Set the initial values of every `GeM` and `NonLocal` in a model, in place."""
    for module in model.modules():
        if isinstance(module, GeM | NonLocal):
            module.initialise()


_r50 = partial(make_resnet, 50)
_r50_ibn = partial(make_resnet, 50, ibn=True)
_r101_ibn = partial(make_resnet, 101, ibn=True)
_bot = partial(FastReid, gem=False)
_sbs = partial(FastReid, input_size=(384, 128))

bot_r50 = partial(_bot, _r50)
bot_r50_ibn = partial(_bot, _r50_ibn)
bot_s50 = partial(_bot, make_resnest)
bot_r101_ibn = partial(_bot, _r101_ibn)
bot_gem_r50_ibn = partial(FastReid, _r50_ibn, input_size=(256, 256))
agw_r50 = partial(FastReid, partial(_r50, non_local=True))
agw_r50_ibn = partial(FastReid, partial(_r50_ibn, non_local=True))
agw_s50 = partial(FastReid, partial(make_resnest, non_local=True))
agw_r101_ibn = partial(FastReid, partial(_r101_ibn, non_local=True))
sbs_r50 = partial(_sbs, partial(_r50, non_local=True))
sbs_r50_ibn = partial(_sbs, partial(_r50_ibn, non_local=True))
sbs_s50 = partial(_sbs, partial(make_resnest, non_local=True))
sbs_r101_ibn = partial(_sbs, partial(_r101_ibn, non_local=True))
sbs_s50_2021 = partial(_sbs, partial(make_resnest, dilation=2))
"""The ``sbs`` of fast-reid's code since December 2020: no non-local blocks, and a last stage with dilation 2.

The dilations of its last stage are 1, 2 and 2, as ResNeSt's code chooses them. This is an assumption: no published
embedding confirms it.
"""
