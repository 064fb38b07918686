"""Find the checkpoint of a file by its tensors, for checkpoints without a known sha256 or Mega link."""

from pathlib import Path

from reidhub.diagnosis.named_layout import read_with_layout
from reidhub.errors import StateDictError, UsageError, WeightsError
from reidhub.models import build
from reidhub.weights import count_classes, load_weights
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.known_layouts import KnownLayout


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
        tensors, layout = read_with_layout(path, None)
    except WeightsError:
        return []
    classes = count_classes(tensors)
    claimed = [c for c in checkpoints if c.artifact.original_file == path.name]
    counted = [c for c in checkpoints if c.spec.num_classes is not None]
    likely = [c for c in (claimed or counted) if classes and c.spec.num_classes in (None, classes)]
    fitting = []
    for checkpoint in likely:
        if not _has_layout(checkpoint, layout):
            continue
        try:
            load_weights(build(checkpoint.model, classes or 1, device="meta"), tensors, what=path.name)
        except (StateDictError, UsageError):
            continue
        fitting.append(checkpoint)
    return fitting if len(fitting) == 1 else []


def _has_layout(checkpoint: Checkpoint, layout: KnownLayout | None) -> bool:
    """Return True if a file with this named layout, or with none, can be the file of the checkpoint."""
    if layout is None:
        return not (checkpoint.layout.rename or checkpoint.layout.constants)
    return checkpoint.layout == layout.layout
