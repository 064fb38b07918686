"""The public road: a name becomes a checkpoint, a file, a model with weights, a preprocessing."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reidhub.cache.store import Cache
from reidhub.download.fetch import fetch as _fetch
from reidhub.errors import CacheError, UsageError
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import zoo

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from PIL.Image import Image

    from reidhub.inference import Embedder, Precision
    from reidhub.models.base import ReidModel


_SHOWN = 12  # names in a hint


def checkpoints() -> list[Checkpoint]:
    """Every checkpoint of the zoo and of ``$REIDHUB_MANIFEST``, in the manifest's order.

    Raises:
        ManifestError: a manifest file breaks its format.
    """
    return list(zoo().checkpoints)


def find(selector: str) -> list[Checkpoint]:
    """The checkpoints a selector means; never empty.

    Args:
        selector: a full name (``osnet_x1_0.msmt17``), a glob (``osnet_x1_0.*``, ``*.msmt17``), or a model's name,
            which means its default checkpoint: ``imagenet`` where there is one, else ``market1501``.

    Raises:
        UnknownCheckpointError: nothing is called so; names that look alike are given.
    """
    return zoo().find(selector)


def find_one(model: str, dataset: str | None = None) -> Checkpoint:
    """The one checkpoint that a model and a dataset mean.

    Args:
        model: a selector that means one checkpoint; with ``dataset``, a model's name.
        dataset: what it was trained on: the tag of that name, else the only checkpoint of the model trained on that
            dataset alone.

    Raises:
        UnknownCheckpointError: there is none, or more than one.
    """
    if dataset is not None:
        return zoo().find_trained(model, dataset)
    found = find(model)
    if len(found) > 1:
        raise UsageError(
            f"{model!r} means {len(found)} checkpoints", hint="choose one of " + _listed([c.name for c in found])
        )
    return found[0]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def fetch(name: str) -> Path:
    """The intact file of one checkpoint, downloaded where the cache does not have it.

    Args:
        name: a selector that means one checkpoint.

    Raises:
        UnknownCheckpointError: nothing is called so.
        FetchError: no source gave the file; each is named with its reason.
    """
    return _fetch(find_one(name), Cache())


def build(model: str, num_classes: int = 1000) -> "ReidModel":
    """A new model with freshly initialised weights, in train mode.

    Args:
        model: name of an architecture, such as ``osnet_x1_0``.
        num_classes: rows of the classifier, above 0.

    Raises:
        UsageError: no architecture is called so.
    """
    from reidhub.models import build as build_model

    return build_model(model, num_classes)


def load(
    model: str, dataset: str | None = None, *, num_classes: int | None = None, device: "torch.device | str" = "cpu"
) -> "ReidModel":
    """A published model with its weights, in eval mode: (N, 3, H, W) -> (N, D).

    Args:
        model: a full name (``osnet_x1_0.msmt17``), or a model's name.
        dataset: what it was trained on, beside a model's name. ``imagenet`` is where re-ID training starts, for
            resnet50 and resnet50_fc512 from torchvision's weights.
        num_classes: rows of the classifier. Where the file has another number, its classifier is left out and a new
            one initialised, which the log tells; everything else loads strictly. None: as the file has it.
        device: where the tensors end up.

    Raises:
        UnknownCheckpointError: there is no such checkpoint, or more than one.
        UsageError: the model has no ImageNet weights, ``num_classes`` is below 1, or there is no such device.
        FetchError: no source gave the file.
        WeightsError: the file does not hold the weights of this architecture.
    """
    from reidhub.torch_settings import find_device
    from reidhub.weights import CLASSIFIER, convert, num_classes_of, stored_weights
    from reidhub.weights.load import filled
    from reidhub.zoo.torchvision_weights import HEAD, find_torchvision_weights

    place = find_device(device)
    start = find_torchvision_weights(model, dataset)
    checkpoint = start or find_one(model, dataset)
    path = _fetch(checkpoint, Cache())
    tensors = stored_weights(path, checkpoint.layout)
    held = num_classes_of(tensors)
    head: tuple[str, ...] = HEAD if start else () if num_classes in (None, held) else (CLASSIFIER,)
    built = filled(checkpoint, tensors, num_classes, head)
    if not head:
        with suppress(CacheError):  # a read-only cache only makes the next load slower
            convert(path, tensors, checkpoint.layout)
    if place.type != "cpu":  # `to` looks at every layer
        built.to(place)
    return built.eval()


def embedder(
    model: str,
    dataset: str | None = None,
    *,
    device: "torch.device | str" = "cpu",
    precision: "Precision" = "fp32",
    batch: int | None = None,
) -> "Embedder":
    """A published model made fast: images or pixels (N, 3, H, W) -> embeddings (N, D) on the CPU.

    Args:
        model: a full name (``osnet_x1_0.msmt17``), or a model's name.
        dataset: what it was trained on, beside a model's name.
        device: where it runs.
        precision: ``fp32``; ``exact``, the plain module; ``bf16``, where the hardware has it.
        batch: images that run at once; None for what is fastest: 8 to 32 on a CPU, 128 on a GPU.

    Raises:
        UnknownCheckpointError: there is no such checkpoint, or more than one.
        FetchError: no source gave the file.
        WeightsError: the file does not hold the weights of this architecture.
        UsageError: the precision is unknown or not to be had here, the batch is below 1, or there is no such device.
    """
    from reidhub.inference import Embedder, plan_for
    from reidhub.torch_settings import check_precision, find_device

    checkpoint, place = find_one(model, dataset), find_device(device)
    plan = plan_for(checkpoint.model, place.type)
    check_precision(precision, place)  # before anything is fetched, and so is the batch
    batch = plan.choose_batch(batch)
    loaded = load(checkpoint.name, device=place)
    return Embedder.of_model(loaded, checkpoint.input, precision=precision, batch=batch, plan=plan)


def transform(name: str) -> "Callable[[Image], torch.Tensor]":
    """The preprocessing of one checkpoint: a PIL image becomes a normalised (3, H, W) float tensor.

    Args:
        name: a selector that means one checkpoint.

    Raises:
        UnknownCheckpointError: nothing is called so.
    """
    from reidhub.inference.preprocess import transform as transform_for

    return transform_for(find_one(name).input)
