"""Which checkpoint a file may be, by its tensors alone: for files that no sha256 and no MAC tells apart."""

from pathlib import Path

from reidhub.errors import StateDictError, UsageError, WeightsError
from reidhub.models import build
from reidhub.weights import load_weights, num_classes_of, read_weights
from reidhub.zoo.checkpoint import Checkpoint


def resembling(path: Path, checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """The one checkpoint whose architecture and number of classes the tensors have; nothing where several have.

    Where the number of classes is not published, the author's file name has to tell.

    Args:
        path: a file.
        checkpoints: among which to look.
    """
    try:
        tensors = read_weights(path)
    except WeightsError:
        return []
    classes = num_classes_of(tensors)
    named = [c for c in checkpoints if c.artifact.original_file == path.name]
    counted = [c for c in checkpoints if c.spec.num_classes is not None]
    likely = [c for c in (named or counted) if classes and c.spec.num_classes in (None, classes)]
    fitting = []
    for checkpoint in likely:
        try:
            load_weights(build(checkpoint.model, classes or 1, device="meta"), tensors, what=path.name)
        except (StateDictError, UsageError):
            continue
        fitting.append(checkpoint)
    return fitting if len(fitting) == 1 else []
