"""torch.hub entry points: one function per model of the zoo.

    model = torch.hub.load("org/reidhub", "osnet_x1_0", dataset="msmt17")

Every function takes the same arguments:

    pretrained: True loads published weights and answers in eval mode; False builds a new model in train mode.
    dataset: what the weights were trained on: ``imagenet``, ``market1501``, ``dukemtmcreid``, ``msmt17``,
        ``msmt17_combineall``, or the tag of a multi-source file (``ms_d_c``); None means the default checkpoint,
        ``imagenet`` where there is one, else ``market1501``. With ``imagenet``, resnet50 and resnet50_fc512 start
        from torchvision's weights; hacnn is trained from scratch.
    num_classes: rows of the classifier; None means as the file has it, 1000 for a new model. Where the file has
        another number, everything but the classifier loads, and the log tells what was left out:
        ``osnet_x1_0("imagenet", num_classes=751).train()`` is ready to be trained on Market-1501.

In eval mode a model maps normalised RGB images (N, 3, H, W) to embeddings (N, D).
"""

from typing import TYPE_CHECKING

import reidhub as _reidhub
from reidhub.errors import UsageError as _UsageError

if TYPE_CHECKING:
    from reidhub.models.base import ReidModel as _ReidModel

dependencies = ["torch", "torchvision", "numpy", "requests", "gdown", "cryptography", "tqdm", "yaml", "safetensors"]


def _load(model: str, dataset: str | None, num_classes: int | None, *, pretrained: bool) -> "_ReidModel":
    if pretrained:
        return _reidhub.load(model, dataset, num_classes=num_classes)
    if dataset is not None:
        raise _UsageError(f"dataset={dataset!r} goes with pretrained=True: a new model was trained on nothing")
    return _reidhub.build(model, 1000 if num_classes is None else num_classes)


def osnet_x1_0(dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None) -> "_ReidModel":
    """OSNet, full width: 2.2 M parameters, (N, 3, 256, 128) -> (N, 512).

    See the module for the arguments.
    """
    return _load("osnet_x1_0", dataset, num_classes, pretrained=pretrained)


def osnet_x0_75(dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None) -> "_ReidModel":
    """OSNet, three quarters of the width: 1.3 M parameters, (N, 3, 256, 128) -> (N, 512).

    See the module for the arguments.
    """
    return _load("osnet_x0_75", dataset, num_classes, pretrained=pretrained)


def osnet_x0_5(dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None) -> "_ReidModel":
    """OSNet, half the width: 0.6 M parameters, (N, 3, 256, 128) -> (N, 512).

    See the module for the arguments.
    """
    return _load("osnet_x0_5", dataset, num_classes, pretrained=pretrained)


def osnet_x0_25(dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None) -> "_ReidModel":
    """OSNet, a quarter of the width: 0.2 M parameters, (N, 3, 256, 128) -> (N, 512).

    See the module for the arguments.
    """
    return _load("osnet_x0_25", dataset, num_classes, pretrained=pretrained)


def osnet_ibn_x1_0(
    dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None
) -> "_ReidModel":
    """OSNet-IBN, instance normalisation beside batch normalisation: (N, 3, 256, 128) -> (N, 512).

    See the module for the arguments.
    """
    return _load("osnet_ibn_x1_0", dataset, num_classes, pretrained=pretrained)


def osnet_ain_x1_0(
    dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None
) -> "_ReidModel":
    """OSNet-AIN, instance normalisation where a search put it: (N, 3, 256, 128) -> (N, 512); cosine distance.

    See the module for the arguments.
    """
    return _load("osnet_ain_x1_0", dataset, num_classes, pretrained=pretrained)


def osnet_ain_x0_75(
    dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None
) -> "_ReidModel":
    """OSNet-AIN, three quarters of the width: (N, 3, 256, 128) -> (N, 512); cosine distance.

    See the module for the arguments.
    """
    return _load("osnet_ain_x0_75", dataset, num_classes, pretrained=pretrained)


def osnet_ain_x0_5(
    dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None
) -> "_ReidModel":
    """OSNet-AIN, half the width: (N, 3, 256, 128) -> (N, 512); cosine distance.

    See the module for the arguments.
    """
    return _load("osnet_ain_x0_5", dataset, num_classes, pretrained=pretrained)


def osnet_ain_x0_25(
    dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None
) -> "_ReidModel":
    """OSNet-AIN, a quarter of the width: (N, 3, 256, 128) -> (N, 512); cosine distance.

    See the module for the arguments.
    """
    return _load("osnet_ain_x0_25", dataset, num_classes, pretrained=pretrained)


def resnet50(dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None) -> "_ReidModel":
    """ResNet-50: 23.5 M parameters, (N, 3, 256, 128) -> (N, 2048).

    See the module for the arguments.
    """
    return _load("resnet50", dataset, num_classes, pretrained=pretrained)


def resnet50_fc512(
    dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None
) -> "_ReidModel":
    """ResNet-50 with a 512-dimensional head: 24.6 M parameters, (N, 3, 256, 128) -> (N, 512).

    See the module for the arguments.
    """
    return _load("resnet50_fc512", dataset, num_classes, pretrained=pretrained)


def mlfn(dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None) -> "_ReidModel":
    """Multi-Level Factorisation Net: 32.5 M parameters, (N, 3, 256, 128) -> (N, 1024).

    See the module for the arguments.
    """
    return _load("mlfn", dataset, num_classes, pretrained=pretrained)


def hacnn(dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None) -> "_ReidModel":
    """Harmonious Attention CNN: (N, 3, 160, 64), no other size, -> (N, 1024).

    See the module for the arguments.
    """
    return _load("hacnn", dataset, num_classes, pretrained=pretrained)


def mobilenetv2_x1_0(
    dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None
) -> "_ReidModel":
    """MobileNetV2: 2.2 M parameters, (N, 3, 256, 128) -> (N, 1280).

    See the module for the arguments.
    """
    return _load("mobilenetv2_x1_0", dataset, num_classes, pretrained=pretrained)


def mobilenetv2_x1_4(
    dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None
) -> "_ReidModel":
    """MobileNetV2, 1.4 times the width: 4.3 M parameters, (N, 3, 256, 128) -> (N, 1792).

    See the module for the arguments.
    """
    return _load("mobilenetv2_x1_4", dataset, num_classes, pretrained=pretrained)


def shufflenet(dataset: str | None = None, *, pretrained: bool = True, num_classes: int | None = None) -> "_ReidModel":
    """ShuffleNet: (N, 3, 256, 128) -> (N, 960); ImageNet weights only.

    See the module for the arguments.
    """
    return _load("shufflenet", dataset, num_classes, pretrained=pretrained)
