"""The 31 architectures of the zoo, without trained weights; torch is imported when a model is built."""

from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, SupportsIndex

from reidhub.errors import UsageError

if TYPE_CHECKING:
    import torch

    from reidhub.models.base import ReidModel

ARCHITECTURES: dict[str, str] = {
    "resnet50": "reidhub.models.resnet:resnet50",
    "resnet50_fc512": "reidhub.models.resnet:resnet50_fc512",
    "mlfn": "reidhub.models.mlfn:mlfn",
    "hacnn": "reidhub.models.hacnn:hacnn",
    "mobilenetv2_x1_0": "reidhub.models.mobilenetv2:mobilenetv2_x1_0",
    "mobilenetv2_x1_4": "reidhub.models.mobilenetv2:mobilenetv2_x1_4",
    "shufflenet": "reidhub.models.shufflenet:shufflenet",
    "osnet_x1_0": "reidhub.models.osnet:osnet_x1_0",
    "osnet_x0_75": "reidhub.models.osnet:osnet_x0_75",
    "osnet_x0_5": "reidhub.models.osnet:osnet_x0_5",
    "osnet_x0_25": "reidhub.models.osnet:osnet_x0_25",
    "osnet_ibn_x1_0": "reidhub.models.osnet:osnet_ibn_x1_0",
    "osnet_ain_x1_0": "reidhub.models.osnet_ain:osnet_ain_x1_0",
    "osnet_ain_x0_75": "reidhub.models.osnet_ain:osnet_ain_x0_75",
    "osnet_ain_x0_5": "reidhub.models.osnet_ain:osnet_ain_x0_5",
    "osnet_ain_x0_25": "reidhub.models.osnet_ain:osnet_ain_x0_25",
    "fastreid_bot_r50": "reidhub.models.fastreid:bot_r50",
    "fastreid_bot_r50_ibn": "reidhub.models.fastreid:bot_r50_ibn",
    "fastreid_bot_s50": "reidhub.models.fastreid:bot_s50",
    "fastreid_bot_r101_ibn": "reidhub.models.fastreid:bot_r101_ibn",
    "fastreid_agw_r50": "reidhub.models.fastreid:agw_r50",
    "fastreid_agw_r50_ibn": "reidhub.models.fastreid:agw_r50_ibn",
    "fastreid_agw_s50": "reidhub.models.fastreid:agw_s50",
    "fastreid_agw_r101_ibn": "reidhub.models.fastreid:agw_r101_ibn",
    "fastreid_sbs_r50": "reidhub.models.fastreid:sbs_r50",
    "fastreid_sbs_r50_ibn": "reidhub.models.fastreid:sbs_r50_ibn",
    "fastreid_sbs_s50": "reidhub.models.fastreid:sbs_s50",
    "fastreid_sbs_r101_ibn": "reidhub.models.fastreid:sbs_r101_ibn",
    "fastreid_mgn_r50_ibn": "reidhub.models.mgn:mgn_r50_ibn",
    "fastreid_bot_gem_r50_ibn": "reidhub.models.fastreid:bot_gem_r50_ibn",
    "fastreid_sbs_s50_2021": "reidhub.models.fastreid:sbs_s50_2021",
}
"""Name of an architecture -> ``module:callable``; the callable takes a number of classes and returns a `ReidModel`."""


def build(
    architecture: str, num_classes: int = 1000, *, init: bool = True, device: "torch.device | str" = "cpu"
) -> "ReidModel":
    """Build a model of the named architecture, in train mode.

    Args:
        architecture: a key of `ARCHITECTURES`.
        num_classes: rows of the classifier, above 0.
        init: False leaves the weights of convolutions and linear layers undefined, for a caller that fills all of them.
        device: the device of the tensors. On ``meta``, tensors have shapes but no values, ready for
            ``load_state_dict(..., assign=True)``.

    Raises:
        UsageError: no architecture has this name, or ``num_classes`` is not a whole number above 0.
    """
    if not isinstance(num_classes, SupportsIndex) or num_classes < 1:
        raise UsageError(f"{architecture}: a classifier of {num_classes!r} classes was asked for; it needs 1 or more")
    definition = _find_definition(architecture)

    import torch

    from reidhub.models.init import initialise, skip_draws

    where = torch.device(device)
    with skip_draws(), nullcontext() if where == torch.get_default_device() else where:  # entering a device takes time
        model: ReidModel = definition(num_classes)
    return initialise(model) if init and where.type != "meta" else model


def _find_definition(architecture: str) -> Any:
    """Return the callable that builds the named architecture."""
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise _explain_unknown(architecture)
    module, _, name = ARCHITECTURES[architecture].partition(":")
    return getattr(import_module(module), name)


def _explain_unknown(architecture: str) -> UsageError:
    """Return the error for an unknown architecture; its hint lists similar names, or all names."""
    from difflib import get_close_matches

    near = get_close_matches(str(architecture), ARCHITECTURES, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(ARCHITECTURES)}"
    return UsageError(f"no architecture is called {architecture!r}", hint=hint)
