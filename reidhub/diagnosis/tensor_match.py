"""Find the checkpoint of a file by its tensors, for checkpoints without a known sha256 or Mega link."""

from pathlib import Path

from reidhub.errors import StateDictError, UsageError, WeightsError
from reidhub.models import build
from reidhub.weights import count_classes, load_weights, read_weights
from reidhub.zoo.checkpoint import Checkpoint


def find_by_tensors(path: Path, checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """Find the checkpoint that has the same architecture and number of classes as the tensors in a file.

    If authors published checkpoints under the file's name, only these checkpoints are compared. Else, only the
    checkpoints whose number of classes is published are compared.

    Args:
        path: the file.
        checkpoints: the candidates.

    Returns:
        One checkpoint; an empty list if none fits, if several fit, or if the file cannot be read.
    """
    try:
        tensors = read_weights(path)
    except WeightsError:
        return []
    classes = count_classes(tensors)
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
