"""The public functions of the package: find and download checkpoints, build and load models."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reidhub.cache.store import Cache
from reidhub.download.fetch import fetch as _fetch
from reidhub.errors import CacheError, UsageError
from reidhub.zoo.checkpoint import Checkpoint, OwnCheckpoint
from reidhub.zoo.manifest import zoo
from reidhub.zoo.own_files import is_own_file

if TYPE_CHECKING:
    import torch

    from reidhub.models.base import ReidModel

_log = logging.getLogger(__name__)

ModelName = str | os.PathLike[str]
"""The name of a checkpoint or a model; or the path of a checkpoint file, or path or address of a published folder."""

_SHOWN = 12  # largest number of names in a hint


def checkpoints() -> list[Checkpoint]:
    """List every checkpoint of the zoo and of ``$REIDHUB_MANIFEST``, in the manifest's order.

    Raises:
        ManifestError: a manifest file is not in the manifest format.
    """
    return list(zoo().checkpoints)


def find(selector: str) -> list[Checkpoint]:
    """Return the checkpoints that match a selector, at least one.

    Args:
        selector: a full name (``osnet_x1_0.msmt17``), a glob (``osnet_x1_0.*``, ``*.msmt17``), or a model's name. A
            model's name selects its default checkpoint, the one that the manifest names, such as ``osnet_x1_0.msmt17``.

    Raises:
        UnknownCheckpointError: nothing matches, or the model has no default; the message lists names.
    """
    return zoo().find(selector)


def find_one(model: ModelName, dataset: str | None = None, architecture: str | None = None) -> Checkpoint:
    """Find the one checkpoint of a model and a dataset; a model's name alone means its default, and the log says which.

    Args:
        model: a selector that matches one checkpoint, or the path of a file; if ``dataset`` is given, a model's name.
        dataset: tag in the checkpoint's name, such as ``msmt17``. If the model has no checkpoint with this tag, the
            checkpoint that was trained on this dataset and no other.
        architecture: the architecture of a file; None to detect it.

    Raises:
        UnknownCheckpointError: no checkpoint matches, ``dataset`` is given and several checkpoints match, or there is
            no such file.
        UsageError: ``dataset`` is None and several checkpoints match; ``dataset`` is given for a file, or
            ``architecture`` for a name.
        WeightsError: the file does not hold exactly the weights of one architecture.
    """
    if is_own_file(model):
        refuse_for_files(model, dataset=dataset)
        from reidhub.diagnosis.own_file import find_own_checkpoint

        return find_own_checkpoint(model, architecture)
    if architecture is not None:
        raise UsageError(f"{model} is no file: only a file needs architecture={architecture!r}", hint="leave it out")
    model = str(model)
    if dataset is not None:
        return zoo().find_trained(model, dataset)
    found = find(model)
    if len(found) > 1:
        raise UsageError(
            f"{model!r} means {len(found)} checkpoints", hint="choose one of " + _list_names([c.name for c in found])
        )
    if found[0].name != model:
        _log.info("%s means the checkpoint %s", model, found[0].name)
    return found[0]


def find_for_embedding(model: ModelName, dataset: str | None = None, architecture: str | None = None) -> Checkpoint:
    """Find the one checkpoint of a model and a dataset; ImageNet weights only if the user asked for them.

    Embeddings of ImageNet weights cannot tell people apart. Therefore they are refused if the user gave only the
    model's name. They are accepted if the user gave the checkpoint's full name, or ``dataset``, or the path of a file.

    Args:
        model: a selector that matches one checkpoint, or the path of a file; if ``dataset`` is given, a model's name.
        dataset: tag in the checkpoint's name, such as ``msmt17``; see `find_one`.
        architecture: the architecture of a file; None to detect it.

    Raises:
        UnknownCheckpointError: no checkpoint matches, ``dataset`` is given and several checkpoints match, or there is
            no such file.
        UsageError: ``dataset`` is None, and several checkpoints match or the model's default has ImageNet weights.
        WeightsError: the file does not hold exactly the weights of one architecture.
    """
    checkpoint = find_one(model, dataset, architecture)
    if _is_unrequested_imagenet(checkpoint, model, dataset):
        raise UsageError(
            f"{model} means {checkpoint.name}: ImageNet weights, which cannot tell people apart",
            hint=f'give dataset="{checkpoint.tag}" or the full name to use them nevertheless, or choose another '
            "architecture: `reidhub list '*.msmt17*'`",
        )
    return checkpoint


def _is_unrequested_imagenet(checkpoint: Checkpoint, model: ModelName, dataset: str | None) -> bool:
    """Return True if the checkpoint has ImageNet weights, and the user gave only the name of its model."""
    by_model = dataset is None and model != checkpoint.name and not is_own_file(model)
    return by_model and not checkpoint.for_reid


def refuse_for_files(model: ModelName, **choices: str | None) -> None:
    """Raise UsageError if the user made a choice that has no meaning for a file."""
    for name, value in choices.items():
        if value is not None:
            raise UsageError(f"{model} is a file: {name}={value!r} has no meaning for it", hint="leave it out")


def _list_names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def fetch(name: ModelName) -> Path:
    """Return the path of one checkpoint's verified file; download the file if the cache does not have it.

    Args:
        name: a selector that matches one checkpoint. The path of a file is returned unchanged, if the file loads.

    Raises:
        UnknownCheckpointError: nothing matches.
        UsageError: more than one checkpoint matches.
        FetchError: no source gave the file; the message lists each source with the reason.
    """
    return _fetch(find_one(name), Cache())


def build(model: str, num_classes: int = 1000) -> "ReidModel":
    """Build a new model with freshly initialised weights, in train mode.

    Args:
        model: name of an architecture, such as ``osnet_x1_0``.
        num_classes: number of rows of the classifier, at least 1.

    Raises:
        UsageError: no architecture has this name, or ``num_classes`` is below 1.
    """
    from reidhub.models import build as build_model

    return build_model(model, num_classes)


def load(
    model: ModelName,
    dataset: str | None = None,
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    device: "torch.device | str" = "cpu",
) -> "ReidModel":
    """Load a published model or a file of your own with its weights, in eval mode: (N, 3, H, W) -> (N, D).

    Args:
        model: a full name (``osnet_x1_0.msmt17``), a model's name, the path of a checkpoint file (``./my.pth``), or a
            folder of `reidhub publish`: its path, or its address with a commit (``hf://ORG/NAME@COMMIT``).
        dataset: the training data, if ``model`` is a model's name; None for the model's default checkpoint. If the
            default has ImageNet weights, the log warns that they cannot tell people apart. ``imagenet`` means the
            weights from which re-ID training starts; for resnet50 and resnet50_fc512 these are torchvision's weights.
        architecture: the architecture of a file, such as ``osnet_x1_0``; None to detect it. The log says which one was
            detected, at level INFO.
        num_classes: number of rows of the classifier; None for the number in the file. If the file has another
            number, or a file of your own has no classifier, a new classifier is initialised, with a warning in the
            log. All other tensors must fit exactly.
        device: the device on which the model is placed.

    Raises:
        UnknownCheckpointError: no checkpoint matches, or ``dataset`` is given and several checkpoints match.
        UsageError: ``dataset`` is None and several checkpoints match; the model has no ImageNet weights;
            ``num_classes`` is below 1; the device does not exist; ``dataset`` is given for a file, or ``architecture``
            for a name.
        FetchError: no source gave the file.
        WeightsError: the file does not hold the weights of this architecture; the message lists what does not fit.
    """
    from reidhub.devices import find_device
    from reidhub.zoo.torchvision_weights import HEAD, find_torchvision_weights

    place = find_device(device)
    start = None if is_own_file(model) else find_torchvision_weights(str(model), dataset)
    checkpoint = start or find_one(model, dataset, architecture)
    if _is_unrequested_imagenet(checkpoint, model, dataset):
        _log.warning(
            '%s has ImageNet weights, which cannot tell people apart; dataset="%s" loads them without this warning',
            checkpoint.name,
            checkpoint.tag,
        )
    return load_checkpoint(checkpoint, place, num_classes, HEAD if start else ())


def load_checkpoint(
    checkpoint: Checkpoint, device: "torch.device", num_classes: int | None = None, head: tuple[str, ...] = ()
) -> "ReidModel":
    """Load the model of a checkpoint, in eval mode; the tensors of the ``head`` are newly initialised."""
    from reidhub.weights import CLASSIFIER, convert, count_classes, read_cached_weights
    from reidhub.weights.load import build_with_weights

    path = _fetch(checkpoint, Cache())
    tensors = read_cached_weights(path, checkpoint.layout)
    if not head and num_classes not in (None, count_classes(tensors)):
        head = (CLASSIFIER,)
    built = build_with_weights(checkpoint, tensors, num_classes, head)
    if not head and not isinstance(checkpoint, OwnCheckpoint):
        with suppress(CacheError):  # without the converted file, the next load is only slower
            convert(path, tensors, checkpoint.layout)
    if device.type != "cpu":  # `to` takes time even if nothing moves
        built.to(device)
    return built.eval()
