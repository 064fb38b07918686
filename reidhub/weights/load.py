"""Builds the model of a checkpoint and loads its weights."""

from pathlib import Path

from torch import Tensor

from reidhub.models import build
from reidhub.models.base import ReidModel
from reidhub.weights.conversion import convert, read_cached_weights
from reidhub.weights.fit import CLASSIFIER, count_classes, load_backbone, load_weights
from reidhub.zoo.checkpoint import Checkpoint


def build_with_weights(
    checkpoint: Checkpoint,
    tensors: dict[str, Tensor],
    num_classes: int | None = None,
    head: tuple[str, ...] = (),
) -> ReidModel:
    """Build the model of a checkpoint with these weights, on the CPU and in train mode.

    Args:
        checkpoint: the checkpoint, which names the architecture.
        tensors: the weights from the checkpoint's file.
        num_classes: number of rows of the classifier. If it is None, the number in the manifest is used. If the
            manifest has no number, it is the number of rows in the weights, or 1000 if they have no classifier.
        head: words. A tensor is not loaded, but newly initialised, if a part of its name, between dots, starts with one
            of them. All other tensors are loaded strictly. The classifier is newly initialised too if the weights
            have none and the manifest has no number of classes, as for a file that was saved for embeddings only.

    Raises:
        StateDictError: the weights do not fit.
        UsageError: ``num_classes`` is below 1.
    """
    held = count_classes(tensors)
    if held is None and checkpoint.spec.num_classes is None:
        head = (*head, CLASSIFIER)
    if num_classes is None:
        num_classes = checkpoint.spec.num_classes or held or 1000
    if head:
        built = build(checkpoint.model, num_classes)
        load_backbone(built, tensors, what=checkpoint.name, head=head)
    else:
        built = build(checkpoint.model, num_classes, init=False)
        load_weights(built, tensors, what=checkpoint.name)
    return built


def write_safetensors(checkpoint: Checkpoint, path: Path) -> Path:
    """Return the path of the safetensors file for a cached file; convert the cached file first if needed.

    Args:
        checkpoint: the checkpoint; the weights must fit its architecture strictly.
        path: the checkpoint's file in the cache.

    Raises:
        WeightsError: the file cannot be read, or its weights do not fit the architecture.
        CacheError: the converted file cannot be written.
    """
    tensors = read_cached_weights(path, checkpoint.layout)
    build_with_weights(checkpoint, tensors)
    return convert(path, tensors, checkpoint.layout)
