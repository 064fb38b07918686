"""Loads weights into a model strictly; an error lists the tensors that do not fit."""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reidhub.errors import StateDictError
from reidhub.files.sniff import make_printable

CLASSIFIER = "classifier"
"""A tensor belongs to a classifier if a part of its name starts with this word; its shape depends on the classes."""

_OPTIONAL = "num_batches_tracked"  # PyTorch writes this count since 0.4.1; eval mode does not use it
_SHOWN = 12  # number of differences that a message lists at most

_log = logging.getLogger(__name__)


def count_classes(tensors: Mapping[str, Tensor]) -> int | None:
    """Return the number of rows of the classifier in these weights; None if the weights have no classifier."""
    weights = (t for name, t in tensors.items() if is_classifier(name) and name.endswith(".weight"))
    return next((tensor.shape[0] for tensor in weights if tensor.ndim == 2), None)


def is_classifier(name: str) -> bool:
    """Return True if a tensor of this name belongs to a classifier."""
    return is_in_head(name, (CLASSIFIER,))


def is_in_head(name: str, head: tuple[str, ...]) -> bool:
    """Return True if a part of a tensor's name, between its dots, starts with one of the words of ``head``."""
    return any(part.startswith(head) for part in name.split("."))


def is_optional(name: str) -> bool:
    """Return True if a tensor of this name may be missing in files from before PyTorch 0.4.1."""
    return name.endswith(_OPTIONAL)


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], *, what: str) -> None:
    """Load weights into a model; names and shapes must be exactly those of the model.

    Only ``num_batches_tracked`` may be missing, because old files do not have it; it is then set to 0. A parameter that
    the model has under several names stays one parameter; the given tensors of these names must be the same.

    Args:
        model: a model on any device, including ``meta``. If dtype and device fit, the model uses the given tensors
            themselves, not copies.
        tensors: name -> CPU tensor.
        what: name of the checkpoint, for the error message.

    Raises:
        StateDictError: tensors are missing, unexpected or have another shape, or they differ although the model has one
            parameter for them; the message lists them.
    """
    wanted = model.state_dict(keep_vars=True)
    given = dict(tensors)
    for name, tensor in wanted.items():
        if is_optional(name) and name not in given:
            given[name] = torch.zeros((), dtype=tensor.dtype, device="cpu")
    if lines := _find_differences(wanted, given):
        raise _explain_misfit(what, lines, len(wanted.keys() | given.keys()))
    _check_shared(wanted, given, what)
    modules = dict(model.named_modules(remove_duplicate=False))
    new: dict[Tensor, Tensor] = {}
    for name, before in wanted.items():  # the same as load_state_dict(assign=True), but faster
        if before not in new:
            tensor = given[name].to(dtype=before.dtype, device=_choose_device(before))
            new[before] = nn.Parameter(tensor, before.requires_grad) if isinstance(before, nn.Parameter) else tensor
        path, _, key = name.rpartition(".")
        setattr(modules[path], key, new[before])


def load_backbone(model: nn.Module, tensors: Mapping[str, Tensor], *, what: str, head: tuple[str, ...]) -> None:
    """Load all weights except those of the head into a model, strictly; the model keeps its own head.

    A warning in the log lists the tensors that were not loaded, and the tensors of the model's own head.

    Args:
        model: a model in which every tensor is initialised.
        tensors: name -> CPU tensor.
        what: name of the checkpoint, for messages.
        head: words. A tensor belongs to the head if a part of its name starts with one of them, see `is_in_head`.

    Raises:
        StateDictError: the weights outside the head do not fit; the message lists the differences.
    """
    new = {name: tensor for name, tensor in model.state_dict().items() if is_in_head(name, head)}
    left_out = {name: tensor for name, tensor in tensors.items() if is_in_head(name, head)}
    load_weights(model, {**{n: t for n, t in tensors.items() if n not in left_out}, **new}, what=what)
    lists = _list_tensors(left_out) or "nothing", _list_tensors(new)
    _log.warning("%s: left out %s; newly initialised: %s", what, *lists)


def _check_shared(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str) -> None:
    """Raise StateDictError if the file has different tensors for one parameter of the model."""
    first: dict[Tensor, str] = {}
    for name, parameter in wanted.items():
        one = first.setdefault(parameter, name)
        if one != name and not torch.allclose(given[one], given[name], rtol=0, atol=0, equal_nan=True):
            raise StateDictError(
                f"{what}: {one} and {name} are one parameter of the model, but the file has two values for it",
                hint="the file was changed after it was saved, or other code wrote it; load it with that code",
            )


def _list_tensors(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {_format_shape(tensor)}" for name, tensor in tensors.items())


def _choose_device(tensor: Tensor) -> torch.device:
    return torch.device("cpu") if tensor.device.type == "meta" else tensor.device


def _find_differences(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[tuple[str, str, str]]:
    """List the differences between the tensors of a model and those of a file.

    Each difference is (``missing``, name, shape), (``unexpected``, name, shape) or (``shape``, name, text with both
    shapes).
    """
    missing = [("missing", name, _format_shape(tensor)) for name, tensor in wanted.items() if name not in given]
    unexpected = [("unexpected", name, _format_shape(tensor)) for name, tensor in given.items() if name not in wanted]
    other = [
        ("shape", name, f"expected {_format_shape(tensor)}, got {_format_shape(given[name])}")
        for name, tensor in wanted.items()
        if name in given and tensor.shape != given[name].shape
    ]
    return missing + unexpected + other


def _explain_misfit(what: str, lines: list[tuple[str, str, str]], total: int) -> StateDictError:
    shown = [(kind, make_printable(name), shapes) for kind, name, shapes in lines[:_SHOWN]]
    width = max(len(name) for _, name, _ in shown)
    listed = [f"  {kind:<10}  {name:<{width}}  {shapes}" for kind, name, shapes in shown]
    more = [f"  ... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    message = "\n".join([f"{what}: {len(lines)} of {total} tensors do not fit", *listed, *more])
    return StateDictError(message, hint="the file is of another architecture or training set; `reidhub doctor FILE`")


def _format_shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
