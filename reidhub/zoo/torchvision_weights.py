"""Finds torchvision's ImageNet weights for models that have no ImageNet checkpoint in the zoo."""

from dataclasses import replace

from reidhub.errors import UsageError
from reidhub.zoo.artifact import Artifact, Source, StateDictLayout
from reidhub.zoo.checkpoint import IMAGENET, Checkpoint, ModelSpec
from reidhub.zoo.manifest import zoo

HEAD = ("fc", "classifier")
"""Names of layers that cannot use torchvision's weights; ``fc`` is the name of torchvision's classifier."""

_TORCHVISION = "torchvision:"


def find_torchvision_weights(model: str, dataset: str | None) -> Checkpoint | None:
    """Return a checkpoint for torchvision's ImageNet weights, if the training of the model starts from them.

    The only source of the checkpoint's file is torchvision's URL. The file name contains the first digits of the
    sha256. The other digits are not known.

    Args:
        model: name of an architecture.
        dataset: the dataset that the user asked for.

    Returns:
        The checkpoint. None if ``dataset`` is not ``imagenet``, if the zoo has an ImageNet checkpoint of the model, or
        if the training of the model does not start from torchvision's weights, or the manifest does not say from what.

    Raises:
        UsageError: ``dataset`` is ``imagenet``, but the model is trained from scratch.
    """
    architecture = zoo().architecture(model)
    if dataset != IMAGENET or architecture is None or _has_own_checkpoint(model):
        return None
    if architecture.starts_from == "scratch":
        raise UsageError(
            f"there are no ImageNet weights of {model}: it is trained from scratch",
            hint=f"reidhub.build({model!r}, num_classes=...) makes a new model",
        )
    if architecture.starts_from is None or not architecture.starts_from.startswith(_TORCHVISION):
        return None
    return _make_checkpoint(model, architecture.starts_from.removeprefix(_TORCHVISION))


def starts_from_torchvision(model: str) -> bool:
    """Return True if the training of a model starts from torchvision's ImageNet weights."""
    architecture = zoo().architecture(model)
    return architecture is not None and (architecture.starts_from or "").startswith(_TORCHVISION)


def _has_own_checkpoint(model: str) -> bool:
    return any(c.model == model and not c.for_reid for c in zoo().checkpoints)


def _make_checkpoint(model: str, weights: str) -> Checkpoint:
    """Make a checkpoint for ImageNet weights of torchvision.

    What torchvision does not define, such as the input size, is copied from the first checkpoint of the model.

    Args:
        model: name of the architecture.
        weights: name of the weights in torchvision, such as ``ResNet50_Weights.IMAGENET1K_V1``.
    """
    from torchvision.models import get_weight

    url: str = get_weight(weights).url
    file = url.rpartition("/")[2]
    digits = file.rpartition("-")[2].partition(".")[0]
    return replace(
        zoo().find(f"{model}.*")[0],
        name=f"{model}.{IMAGENET}",
        spec=ModelSpec(model, 1000),
        trained_on=(IMAGENET,),
        artifact=Artifact(None, None, (Source("https", url),), sha256_prefix=digits, original_file=file),
        layout=StateDictLayout(),
        scores=(),
        licence="torchvision's",
        notices=(),
    )
