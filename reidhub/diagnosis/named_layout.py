"""Finds which layout of the manifest a file has, and explains why its network may be another one."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from reidhub.weights import read_weights
from reidhub.zoo.artifact import StateDictLayout
from reidhub.zoo.known_layouts import KnownLayout, find_layout
from reidhub.zoo.manifest import zoo

_THEIR_CODE = "load it with the code that it was trained with"


def read_with_layout(path: Path, layout: StateDictLayout | None) -> tuple[dict[str, Tensor], KnownLayout | None]:
    """Read the weights of a file; if they have a layout that the manifest names, read them as that layout says.

    Args:
        path: the file.
        layout: the layout, if it is known.

    Returns:
        The weights, and the named layout; None if ``layout`` is given, or if the file has no named layout.

    Raises:
        WeightsError: the file cannot be read, or does not have the constants of its layout.
    """
    tensors = read_weights(path, layout=layout or StateDictLayout())
    known = None if layout else find_layout(tensors, zoo().layouts)
    return (read_weights(path, layout=known.layout), known) if known else (tensors, None)


def explain_other_network(known: KnownLayout, architecture: str, twins: Sequence[str] = ()) -> tuple[str, str]:
    """Return problem and hint for a file whose tensors resemble an architecture that does not load such files.

    Args:
        known: the layout of the file.
        architecture: the most similar architecture.
        twins: other architectures with the same tensors.
    """
    names = " or ".join((architecture, *twins))
    reasons = "; ".join(known.list_differences(architecture)) or "the zoo has no such network"
    return (
        f"it has the layout {known.name} ({known.about}); its tensors resemble those of {names}, "
        f"but it is another network: {reasons}",
        _THEIR_CODE,
    )
