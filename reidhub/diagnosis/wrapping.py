"""How a file wraps its tensors: the key of the mapping with the tensors, the prefix of the names, the text encoding."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from reidhub.weights.containers import open_container


@dataclass(frozen=True, slots=True)
class Wrapping:
    """Facts that other tools need to read a file; `reidhub.read_weights` finds them out by itself.

    Args:
        root: key of the mapping that contains the tensors; empty if the top level of the file is this mapping.
        prefix: prefix of every name, such as ``module.``.
        latin1: True if the file has byte strings of Python 2 that are not ASCII.
    """

    root: str
    prefix: str
    latin1: bool


def find_wrapping(path: Path, tensors: Mapping[str, Tensor]) -> Wrapping | None:
    """Find the root key, name prefix and text encoding of ``tensors`` in their file; None if it is unclear."""
    with open_container(path, "latin1") as container:
        content = container.content
    below = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, dict)}
    for root, mapping in {"": content, **below}.items():
        if (prefix := _find_prefix(mapping, tensors)) is not None:
            return Wrapping(root, prefix, _needs_latin1(path))
    return None


def _find_prefix(mapping: Mapping[Any, Any], tensors: Mapping[str, Tensor]) -> str | None:
    """Find the prefix that a mapping adds to the names of ``tensors``; None if the names differ otherwise."""
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
