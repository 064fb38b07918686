"""The checkpoint of a file, told by its tensors only: for checkpoints without a sha256 and a MAC."""

from pathlib import Path

from reidhub.errors import StateDictError, UsageError, WeightsError
from reidhub.models import build
from reidhub.weights import load_weights, num_classes_of, read_weights
from reidhub.zoo.checkpoint import Checkpoint


def find_by_tensors(path: Path, checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """Find the only checkpoint with the architecture and the number of classes of a file's tensors.

    A checkpoint whose number of classes is not published is found only if the file has the author's name for it.

    Args:
        path: a file.
        checkpoints: the candidates.

    Returns:
        One checkpoint; an empty list if none fits, or several do.
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
