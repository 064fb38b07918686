"""MGN: Learning Discriminative Features with Multiple Granularities for Person Re-Identification, arXiv 1804.01438.

The definition is fast-reid's of July 2020, with IBN and with generalised mean pooling.
"""

import torch
from torch import Tensor, nn

from reidhub.models.base import ReidModel
from reidhub.models.fastreid import IBN, GeM, Neck, initialise_parts
from reidhub.models.resnet import WIDTH, Bottleneck, make_stage

BRANCHES = ("b1", "b2", "b3")
PARTS = ("b1", "b2", "b3", "b21", "b22", "b31", "b32", "b33")
"""Parts of an embedding, in its order: the three maps, the halves of the second map, the thirds of the third map."""
PART_DIM = 256  # length of one part


class MGN(ReidModel):
    """Three branches after one stem: all see the whole person, the second also its halves, the third also its thirds.

    Args:
        num_classes: rows of each of the eight classifiers.
    """

    input_size = (384, 128)
    b1: nn.Module
    b2: nn.Module
    b3: nn.Module

    def __init__(self, num_classes: int) -> None:
        super().__init__(PART_DIM * len(PARTS), num_classes)
        self.backbone = _make_trunk()
        gem = GeM()  # one for all parts; the published files have its exponent under eight names
        for name in ("b1", "b2", "b21", "b22", "b3", "b31", "b32", "b33"):  # as in the published files
            if name in BRANCHES:
                self.add_module(name, _make_branch())
            self.add_module(f"{name}_pool", _make_pool(gem))
            self.add_module(f"{name}_head", Neck(PART_DIM, num_classes))

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the last maps of the three branches: (N, 3, H, W) -> (N, 3 x 2048, H/16, W/16)."""
        x = self.backbone(images)  # (N, 3, H, W) -> (N, 1024, H/16, W/16)
        return torch.cat((self.b1(x), self.b2(x), self.b3(x)), 1)  # -> (N, 3 x 2048, H/16, W/16)

    def embed(self, images: Tensor) -> Tensor:
        """Compute the embeddings, the parts one after the other: (N, 3, H, W) -> (N, 2048)."""
        first, second, third = self.feature_maps(images).chunk(3, 1)  # (N, 3, H, W) -> 3 x (N, 2048, H/16, W/16)
        upper, lower = second.tensor_split(2, 2)  # -> 2 x (N, 2048, H/32, W/16)
        top, middle, bottom = third.tensor_split(3, 2)  # -> 3 x (N, 2048, H/48, W/16)
        maps = zip(PARTS, (first, second, third, upper, lower, top, middle, bottom), strict=True)
        pooled = [(name, self.get_submodule(f"{name}_pool")(part)) for name, part in maps]  # -> 8 x (N, 256, 1, 1)
        return torch.cat([self.get_submodule(f"{name}_head")(part) for name, part in pooled], 1)  # -> (N, 2048)

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """Compute the scores of each part's classifier, in the order of `PARTS`: (N, 2048) -> 8 x (N, num_classes)."""
        parts = [embedding[:, PART_DIM * i : PART_DIM * (i + 1)] for i in range(len(PARTS))]  # -> 8 x (N, 256)
        classifiers = [self.get_submodule(f"{name}_head.classifier") for name in PARTS]
        return tuple(classifier(part) for classifier, part in zip(classifiers, parts, strict=True))

    def initialise_rest(self) -> None:
        """Set the exponent of all poolings to 3, in place."""
        initialise_parts(self)


def _make_trunk() -> nn.Sequential:
    """Create the layers up to the first block of the third stage: (N, 3, H, W) -> (N, 1024, H/16, W/16)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        make_stage(64, 64, 3, norm=IBN),
        make_stage(256, 128, 4, stride=2, norm=IBN),
        make_stage(512, 256, 1, stride=2, norm=IBN)[0],
    )


def _make_branch() -> nn.Sequential:
    """Create the other five blocks of the third stage, and the fourth: (N, 1024, h, w) -> (N, 2048, h, w)."""
    third = nn.Sequential(*(Bottleneck(1024, 256, norm=IBN) for _ in range(5)))
    return nn.Sequential(third, make_stage(1024, 512, 3))


def _make_pool(gem: GeM) -> nn.Sequential:
    """Create the layers before a neck: (N, 2048, h, w) -> (N, 256, 1, 1)."""
    convolution = nn.Conv2d(WIDTH, PART_DIM, 1, bias=False)
    return nn.Sequential(gem, convolution, nn.BatchNorm2d(PART_DIM), nn.ReLU(inplace=True))


mgn_r50_ibn = MGN
