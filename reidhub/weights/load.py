"""The model of a checkpoint with its weights in it."""

from pathlib import Path

from torch import Tensor

from reidhub.models import build
from reidhub.models.base import ReidModel
from reidhub.weights.conversion import convert, stored_weights
from reidhub.weights.fit import load_backbone, load_weights, num_classes_of
from reidhub.zoo.checkpoint import Checkpoint


def filled(
    checkpoint: Checkpoint,
    tensors: dict[str, Tensor],
    num_classes: int | None = None,
    head: tuple[str, ...] = (),
) -> ReidModel:
    """The model of a checkpoint with these weights, on the CPU and in train mode.

    Args:
        checkpoint: whose architecture is built.
        tensors: what was read from its file.
        num_classes: rows of the classifier; None for what the manifest says, else the weights.
        head: starts of the names of tensors that are newly initialised instead; everything else is strict.

    Raises:
        StateDictError: the weights do not fit.
        UsageError: ``num_classes`` is below 1.
    """
    if num_classes is None:
        num_classes = checkpoint.spec.num_classes or num_classes_of(tensors) or 1000
    if head:
        built = build(checkpoint.model, num_classes)
        load_backbone(built, tensors, what=checkpoint.name, head=head)
    else:
        built = build(checkpoint.model, num_classes, init=False)
        load_weights(built, tensors, what=checkpoint.name)
    return built


def converted(checkpoint: Checkpoint, path: Path) -> Path:
    """The weights of a cached file as safetensors, beside it; made where they are not there yet.

    Args:
        checkpoint: whose architecture they have to fit strictly.
        path: its file in the cache.

    Raises:
        WeightsError: the file does not hold the weights of this architecture.
        CacheError: the cache does not take the converted file.
    """
    tensors = stored_weights(path, checkpoint.layout)
    filled(checkpoint, tensors)
    return convert(path, tensors, checkpoint.layout)
