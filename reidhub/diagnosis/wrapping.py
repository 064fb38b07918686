"""How a file wraps its tensors: under which key, with what before every name, in which encoding."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from reidhub.weights.containers import open_container


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What has to be known to read a file with other tools; `reidhub.read_weights` finds it out.

    Args:
        root: key under which the tensors lie; empty for a bare mapping.
        prefix: what stands before every name, such as ``module.``.
        latin1: True where its texts are byte strings of Python 2 that ASCII cannot read.
    """

    root: str
    prefix: str
    latin1: bool


def wrapping_of(path: Path, tensors: Mapping[str, Tensor]) -> Wrapping | None:
    """How the file wraps ``tensors``, which were read from it; None where that cannot be told."""
    with open_container(path, "latin1") as container:
        content = container.content
    below = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, dict)}
    for root, mapping in {"": content, **below}.items():
        if (prefix := _prefix(mapping, tensors)) is not None:
            return Wrapping(root, prefix, _needs_latin1(path))
    return None


def _prefix(mapping: Mapping[Any, Any], tensors: Mapping[str, Tensor]) -> str | None:
    """What stands before the names of ``tensors`` in a mapping; None where it holds other names."""
    first, wanted = next(iter(mapping), None), next(iter(tensors))
    if not isinstance(first, str) or not first.endswith(wanted) or len(mapping) != len(tensors):
        return None
    prefix = first.removesuffix(wanted)
    return prefix if all(name == prefix + key for name, key in zip(mapping, tensors, strict=True)) else None


def _needs_latin1(path: Path) -> bool:
    try:
        with open_container(path, "ascii"):
            return False
    except UnicodeDecodeError:
        return True
