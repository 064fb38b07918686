"""torch.hub entry points: one function per architecture of the zoo.

    model = torch.hub.load("org/reidhub", "osnet_x1_0", dataset="msmt17")

The functions differ only in the architecture; ``torch.hub.help`` shows the documentation of each function.
"""

from collections.abc import Callable as _Callable
from os import PathLike as _PathLike
from pathlib import Path as _Path
from typing import TYPE_CHECKING

import reidhub as _reidhub
from reidhub.errors import UsageError as _UsageError

_here, _imported = _Path(__file__).resolve().parent, _Path(_reidhub.__file__).resolve().parents[1]
if _here != _imported:
    raise _UsageError(
        f"torch.hub wants reidhub from {_here}, but this process has already imported it from {_imported}",
        hint="start a new process, or use reidhub.load of the imported one",
    )

from reidhub.models import ARCHITECTURES as _ARCHITECTURES  # noqa: E402

if TYPE_CHECKING:
    from reidhub.models.base import ReidModel as _ReidModel

dependencies = ["torch", "torchvision", "numpy", "requests", "gdown", "cryptography", "tqdm", "yaml", "safetensors"]

_SUMMARIES = {
    "osnet_x1_0": "OSNet, full width: 2.2 M parameters, (N, 3, 256, 128) -> (N, 512).",
    "osnet_x0_75": "OSNet, three quarters of the width: 1.3 M parameters, (N, 3, 256, 128) -> (N, 512).",
    "osnet_x0_5": "OSNet, half the width: 0.6 M parameters, (N, 3, 256, 128) -> (N, 512).",
    "osnet_x0_25": "OSNet, a quarter of the width: 0.2 M parameters, (N, 3, 256, 128) -> (N, 512).",
    "osnet_ibn_x1_0": "OSNet-IBN, with instance and batch normalisation: (N, 3, 256, 128) -> (N, 512).",
    "osnet_ain_x1_0": "OSNet-AIN, with layers found by a search: (N, 3, 256, 128) -> (N, 512); cosine distance.",
    "osnet_ain_x0_75": "OSNet-AIN, three quarters of the width: (N, 3, 256, 128) -> (N, 512); cosine distance.",
    "osnet_ain_x0_5": "OSNet-AIN, half the width: (N, 3, 256, 128) -> (N, 512); cosine distance.",
    "osnet_ain_x0_25": "OSNet-AIN, a quarter of the width: (N, 3, 256, 128) -> (N, 512); cosine distance.",
    "resnet50": "ResNet-50: 23.5 M parameters, (N, 3, 256, 128) -> (N, 2048).",
    "resnet50_fc512": "ResNet-50 with a 512-dimensional head: 24.6 M parameters, (N, 3, 256, 128) -> (N, 512).",
    "mlfn": "Multi-Level Factorisation Net: 32.5 M parameters, (N, 3, 256, 128) -> (N, 1024).",
    "hacnn": "Harmonious Attention CNN: (N, 3, 160, 64), no other size, -> (N, 1024); trained from scratch.",
    "mobilenetv2_x1_0": "MobileNetV2: 2.2 M parameters, (N, 3, 256, 128) -> (N, 1280).",
    "mobilenetv2_x1_4": "MobileNetV2, 1.4 times the width: 4.3 M parameters, (N, 3, 256, 128) -> (N, 1792).",
    "shufflenet": "ShuffleNet: (N, 3, 256, 128) -> (N, 960); ImageNet weights only.",
    "fastreid_bot_r50": "fast-reid's BoT, ResNet-50: (N, 3, 256, 128) -> (N, 2048); cosine distance.",
    "fastreid_bot_r50_ibn": "fast-reid's BoT, ResNet-50 with IBN: (N, 3, 256, 128) -> (N, 2048); cosine distance.",
    "fastreid_bot_s50": "fast-reid's BoT, ResNeSt-50: (N, 3, 256, 128) -> (N, 2048); cosine distance.",
    "fastreid_bot_r101_ibn": "fast-reid's BoT, ResNet-101 with IBN: (N, 3, 256, 128) -> (N, 2048); cosine distance.",
    "fastreid_agw_r50": "fast-reid's AGW, ResNet-50: (N, 3, 256, 128) -> (N, 2048); cosine distance.",
    "fastreid_agw_r50_ibn": "fast-reid's AGW, ResNet-50 with IBN: (N, 3, 256, 128) -> (N, 2048); cosine distance.",
    "fastreid_agw_s50": "fast-reid's AGW, ResNeSt-50: (N, 3, 256, 128) -> (N, 2048); cosine distance.",
    "fastreid_agw_r101_ibn": "fast-reid's AGW, ResNet-101 with IBN: (N, 3, 256, 128) -> (N, 2048); cosine distance.",
    "fastreid_sbs_r50": "fast-reid's SBS, ResNet-50: (N, 3, 384, 128) -> (N, 2048); cosine distance.",
    "fastreid_sbs_r50_ibn": "fast-reid's SBS, ResNet-50 with IBN: (N, 3, 384, 128) -> (N, 2048); cosine distance.",
    "fastreid_sbs_s50": "fast-reid's SBS, ResNeSt-50: (N, 3, 384, 128) -> (N, 2048); cosine distance.",
    "fastreid_sbs_r101_ibn": "fast-reid's SBS, ResNet-101 with IBN: (N, 3, 384, 128) -> (N, 2048); cosine distance.",
    "fastreid_mgn_r50_ibn": "fast-reid's MGN, three branches of ResNet-50 with IBN: (N, 3, 384, 128) -> (N, 2048).",
    "fastreid_bot_gem_r50_ibn": "fast-reid's BoT for vehicles, ResNet-50 with IBN: (N, 3, 256, 256) -> (N, 2048).",
    "fastreid_sbs_s50_2021": "BoT-SORT's appearance model, ResNeSt-50 of 2021: (N, 3, 384, 128) -> (N, 2048).",
}

_HELP = """{summary}

Args:
    dataset: what the weights were trained on: ``imagenet``, ``market1501``, ``dukemtmcreid``, ``msmt17``,
        ``msmt17_combineall``, or another tag that ``reidhub list`` shows, such as ``ms_d_c``. None means the default
        checkpoint of the manifest: ``msmt17`` if there is one, and ``msmt17_combineall`` for OSNet-AIN and OSNet-IBN.
        If the zoo has only ImageNet weights of the model, these load with a warning: they cannot tell people apart.
        Training starts from ``imagenet``; for resnet50 and resnet50_fc512 these weights are torchvision's.
    file: path of a checkpoint file of this architecture, to load instead of published weights.
    pretrained: True loads published weights and returns a model in eval mode; False returns a new model in train mode.
    num_classes: rows of the classifier. None keeps those of the file, and means 1000 for a new model. If the file has
        another number, a new classifier is initialised and everything else loads:
        ``torch.hub.load(..., dataset="imagenet", num_classes=751).train()`` is ready for training on Market-1501.

Returns:
    A ``ReidModel``. In eval mode it maps normalised RGB images (N, 3, H, W) to embeddings (N, D), in train mode to
    logits (N, num_classes), for hacnn and MGN a tuple with the logits of each classifier.
"""


def _entry_point(architecture: str) -> "_Callable[..., _ReidModel]":
    def load(
        dataset: str | None = None,
        *,
        file: "str | _PathLike[str] | None" = None,
        pretrained: bool = True,
        num_classes: int | None = None,
    ) -> "_ReidModel":
        if not isinstance(pretrained, bool):
            raise _UsageError(
                f"pretrained is True or False, got {pretrained!r}", hint=f"dataset={pretrained!r} chooses the weights"
            )
        if pretrained and file is not None:
            return _reidhub.load(_Path(file), dataset, architecture=architecture, num_classes=num_classes)
        if pretrained:
            return _reidhub.load(architecture, dataset, num_classes=num_classes)
        if file is not None:
            raise _UsageError(f"file={file!r} needs pretrained=True: a new model has random weights")
        if dataset is not None:
            raise _UsageError(f"dataset={dataset!r} needs pretrained=True: a new model was trained on nothing")
        return _reidhub.build(architecture, 1000 if num_classes is None else num_classes)

    load.__name__ = load.__qualname__ = architecture
    load.__doc__ = _HELP.format(summary=_SUMMARIES[architecture])
    return load


for _name in _ARCHITECTURES:
    globals()[_name] = _entry_point(_name)
