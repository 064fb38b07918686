"""Weights meet a model: strictly, with a readable list of what does not fit."""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reidhub.errors import StateDictError
from reidhub.files.sniff import make_printable

CLASSIFIER = "classifier"
"""How the names of tensors start that belong to the classes of a training set."""

_LATE = "num_batches_tracked"  # a count that PyTorch writes since 0.4.1; nothing depends on it in eval mode
_SHOWN = 12  # differences in a message

_log = logging.getLogger(__name__)


def num_classes_of(tensors: Mapping[str, Tensor]) -> int | None:
    """Rows of the classifier among the weights; None where there is no classifier."""
    weights = (t for name, t in tensors.items() if is_classifier(name) and name.endswith(".weight"))
    return next((tensor.shape[0] for tensor in weights if tensor.ndim == 2), None)


def is_classifier(name: str) -> bool:
    """True for the names of tensors that belong to the classes of a training set."""
    return name.startswith(CLASSIFIER)


def is_late(name: str) -> bool:
    """True for the names of tensors that files of before PyTorch 0.4.1 may lack."""
    return name.endswith(_LATE)


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], *, what: str) -> None:
    """Make the weights those of a model: every tensor, each of its shape, and no other.

    Only ``num_batches_tracked``, which old files do not have, may be missing; it is 0 then.

    Args:
        model: on any device, the ``meta`` device included; tensors are taken as they are where the dtype fits.
        tensors: names and CPU tensors.
        what: name of the checkpoint, for the message.

    Raises:
        StateDictError: the message lists what is missing, unexpected or of another shape.
    """
    wanted = model.state_dict(keep_vars=True)
    given = dict(tensors)
    for name, tensor in wanted.items():
        if is_late(name) and name not in given:
            given[name] = torch.zeros((), dtype=tensor.dtype, device="cpu")
    if lines := _differences(wanted, given):
        raise _misfit(what, lines, len(wanted.keys() | given.keys()))
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, before in wanted.items():  # as load_state_dict(assign=True), but in less time
        tensor = given[name].to(dtype=before.dtype, device=_device(before))
        path, _, key = name.rpartition(".")
        is_parameter = isinstance(before, nn.Parameter)
        setattr(modules[path], key, nn.Parameter(tensor, before.requires_grad) if is_parameter else tensor)


def load_backbone(model: nn.Module, tensors: Mapping[str, Tensor], *, what: str, head: tuple[str, ...]) -> None:
    """Make the weights those of a model but for its head, which stays as it is; the rest is as strict as ever.

    The log says what was left out and what is new.

    Args:
        model: with every tensor initialised.
        tensors: names and CPU tensors.
        what: name of the checkpoint, for messages.
        head: starts of the names that make up the head.

    Raises:
        StateDictError: the backbone does not fit; the message lists the differences.
    """
    new = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(head)}
    left_out = {name: tensor for name, tensor in tensors.items() if name.startswith(head)}
    load_weights(model, {**{n: t for n, t in tensors.items() if n not in left_out}, **new}, what=what)
    _log.warning("%s: left out %s; newly initialised: %s", what, _named(left_out) or "nothing", _named(new))


def _named(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {_shape(tensor)}" for name, tensor in tensors.items())


def _device(tensor: Tensor) -> torch.device:
    return torch.device("cpu") if tensor.device.type == "meta" else tensor.device


def _differences(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[tuple[str, str, str]]:
    """Kind, name and shapes of each difference."""
    missing = [("missing", name, _shape(tensor)) for name, tensor in wanted.items() if name not in given]
    unexpected = [("unexpected", name, _shape(tensor)) for name, tensor in given.items() if name not in wanted]
    other = [
        ("shape", name, f"expected {_shape(tensor)}, got {_shape(given[name])}")
        for name, tensor in wanted.items()
        if name in given and tensor.shape != given[name].shape
    ]
    return missing + unexpected + other


def _misfit(what: str, lines: list[tuple[str, str, str]], total: int) -> StateDictError:
    shown = [(kind, make_printable(name), shapes) for kind, name, shapes in lines[:_SHOWN]]
    width = max(len(name) for _, name, _ in shown)
    listed = [f"  {kind:<10}  {name:<{width}}  {shapes}" for kind, name, shapes in shown]
    more = [f"  ... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    message = "\n".join([f"{what}: {len(lines)} of {total} tensors do not fit", *listed, *more])
    return StateDictError(message, hint="the file is of another architecture or training set; `reidhub doctor FILE`")


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
