"""The public functions of the package: find and download checkpoints, build and load models, embed images."""

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
            model's name selects its default checkpoint: ``imagenet`` if there is one, else ``market1501``, else the
            model's only checkpoint.

    Raises:
        UnknownCheckpointError: nothing matches; the message lists similar names.
    """
    return zoo().find(selector)


def find_one(model: str, dataset: str | None = None) -> Checkpoint:
    """Find the one checkpoint of a model and a dataset.

    Args:
        model: a selector that matches one checkpoint; if ``dataset`` is given, a model's name.
        dataset: tag in the checkpoint's name, such as ``msmt17``. If the model has no checkpoint with this tag, the
            checkpoint that was trained on this dataset and no other.

    Raises:
        UnknownCheckpointError: no checkpoint matches, or ``dataset`` is given and several checkpoints match.
        UsageError: ``dataset`` is None and several checkpoints match.
    """
    if dataset is not None:
        return zoo().find_trained(model, dataset)
    found = find(model)
    if len(found) > 1:
        raise UsageError(
            f"{model!r} means {len(found)} checkpoints", hint="choose one of " + _list_names([c.name for c in found])
        )
    return found[0]


def _list_names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def fetch(name: str) -> Path:
    """Return the path of one checkpoint's verified file; download the file if the cache does not have it.

    Args:
        name: a selector that matches one checkpoint.

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
    model: str, dataset: str | None = None, *, num_classes: int | None = None, device: "torch.device | str" = "cpu"
) -> "ReidModel":
    """Load a published model with its weights, in eval mode: (N, 3, H, W) -> (N, D).

    Args:
        model: a full name (``osnet_x1_0.msmt17``), or a model's name.
        dataset: the training data, if ``model`` is a model's name. ``imagenet`` means the weights from which re-ID
            training starts; for resnet50 and resnet50_fc512 these are torchvision's weights.
        num_classes: number of rows of the classifier; None for the number in the file. If the file has another
            number, a new classifier is initialised, with a warning in the log. All other tensors must fit exactly.
        device: the device on which the model is placed.

    Raises:
        UnknownCheckpointError: no checkpoint matches, or ``dataset`` is given and several checkpoints match.
        UsageError: ``dataset`` is None and several checkpoints match; the model has no ImageNet weights;
            ``num_classes`` is below 1; or the device does not exist.
        FetchError: no source gave the file.
        WeightsError: the file does not hold the weights of this architecture.
    """
    from reidhub.torch_settings import find_device
    from reidhub.weights import CLASSIFIER, convert, count_classes, read_cached_weights
    from reidhub.weights.load import build_with_weights
    from reidhub.zoo.torchvision_weights import HEAD, find_torchvision_weights

    place = find_device(device)
    start = find_torchvision_weights(model, dataset)
    checkpoint = start or find_one(model, dataset)
    path = _fetch(checkpoint, Cache())
    tensors = read_cached_weights(path, checkpoint.layout)
    held = count_classes(tensors)
    head: tuple[str, ...] = HEAD if start else () if num_classes in (None, held) else (CLASSIFIER,)
    built = build_with_weights(checkpoint, tensors, num_classes, head)
    if not head:
        with suppress(CacheError):  # without the converted file, the next load is only slower
            convert(path, tensors, checkpoint.layout)
    if place.type != "cpu":  # `to` takes time even if nothing moves
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
    """Load a published model for fast inference: an embedder computes embeddings (N, D) of images (N, 3, H, W).

    Args:
        model: a full name (``osnet_x1_0.msmt17``), or a model's name.
        dataset: the training data, if ``model`` is a model's name.
        device: the device on which the model runs.
        precision: ``fp32`` is an optimised copy of the model, which rounds differently; ``exact`` is the unchanged
            model, which is slower; ``bf16`` is an optimised copy that computes in bfloat16, if the hardware does.
        batch: number of images that are computed at once; None for a fast number: 8 to 32 on a CPU, 128 on a GPU.

    Raises:
        UnknownCheckpointError: no checkpoint matches, or ``dataset`` is given and several checkpoints match.
        FetchError: no source gave the file.
        WeightsError: the file does not hold the weights of this architecture.
        UsageError: ``dataset`` is None and several checkpoints match; the precision is unknown or the device does not
            support it; the batch is below 1; or the device does not exist.
    """
    from reidhub.inference import Embedder, plan_for
    from reidhub.torch_settings import check_precision, find_device

    checkpoint, place = find_one(model, dataset), find_device(device)
    plan = plan_for(checkpoint.model, place.type)
    check_precision(precision, place)  # check this and the batch before anything is downloaded
    batch = plan.choose_batch(batch)
    loaded = load(checkpoint.name, device=place)
    return Embedder.of_model(loaded, checkpoint.input, precision=precision, batch=batch, plan=plan)


def transform(name: str) -> "Callable[[Image], torch.Tensor]":
    """Return the preprocessing of one checkpoint: a function from a PIL image to a normalised float tensor (3, H, W).

    Args:
        name: a selector that matches one checkpoint.

    Raises:
        UnknownCheckpointError: nothing matches.
        UsageError: more than one checkpoint matches.
    """
    from reidhub.inference.preprocess import transform as transform_for

    return transform_for(find_one(name).input)
