"""Read the generated dataset ``demo_world``, which has the layout of Market-1501."""

from collections.abc import Iterable
from pathlib import Path

from reidhub.datasets import Counts, RetrievalSet
from reidhub.datasets.folders import find_root
from reidhub.datasets.market1501 import read_layout
from reidhub.demo import world

FOLDER = "demo_world, as `reidhub demo --keep` leaves it"
_PLACES = ("demo_world", "")


def read(data_root: Path, *, allow_partial: bool = False) -> RetrievalSet:
    """Read the generated dataset below ``data_root``.

    Raises:
        DatasetNotFoundError: no folder below ``data_root`` holds the dataset.
        DatasetError: a file's name has no pid or camera, or the copy is incomplete and ``allow_partial`` is False.
    """
    splits = ("query", "gallery")
    root = find_root("demo_world", data_root, _PLACES, tuple(world.FOLDERS[split] for split in splits))
    counts = {split: _count(world.list_shots(split)) for split in splits}
    return read_layout(root, name="demo_world", title="the demo's world", counts=counts, allow_partial=allow_partial)


def _count(shots: Iterable[world.Shot]) -> Counts:
    scored = [shot for shot in shots if shot.label >= 0]
    return Counts(len(scored), len({shot.label for shot in scored}), len({shot.camera for shot in scored}))
