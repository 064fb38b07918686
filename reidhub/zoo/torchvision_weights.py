"""Where training starts for models whose ImageNet weights are no checkpoint of the zoo: torchvision's, or nowhere."""

from dataclasses import replace

from reidhub.errors import UsageError
from reidhub.zoo.checkpoint import Artifact, Checkpoint, ModelSpec, Source, StateDictLayout
from reidhub.zoo.manifest import zoo

IMAGENET = "imagenet"
HEAD = ("fc.", "classifier.")
"""What a model has of its own behind torchvision's backbone; torchvision calls its own classifier ``fc``."""

_TORCHVISION = "torchvision:"


def start_of(model: str, dataset: str | None) -> Checkpoint | None:
    """Torchvision's weights, where a model and ``imagenet`` mean these; None where they are a checkpoint of the zoo.

    The file has one source and is unpinned: the digits in its name are the only thing known of its bytes.

    Raises:
        UsageError: the model is trained from scratch.
    """
    architecture = zoo().architecture(model)
    if dataset != IMAGENET or architecture is None or _has_own(model):
        return None
    if architecture.starts_from == "scratch":
        raise UsageError(
            f"there are no ImageNet weights of {model}: it is trained from scratch",
            hint=f"reidhub.build({model!r}, num_classes=...) makes a new model",
        )
    if not architecture.starts_from.startswith(_TORCHVISION):
        return None
    return _checkpoint(model, architecture.starts_from.removeprefix(_TORCHVISION))


def starts_from_torchvision(model: str) -> bool:
    """True for a model whose training starts from torchvision's weights."""
    architecture = zoo().architecture(model)
    return architecture is not None and architecture.starts_from.startswith(_TORCHVISION)


def _has_own(model: str) -> bool:
    return any(c.model == model and c.trained_on == (IMAGENET,) for c in zoo().checkpoints)


def _checkpoint(model: str, weights: str) -> Checkpoint:
    """The file behind one of torchvision's weights enums, as a checkpoint of ``model``; pixels as its others want."""
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
