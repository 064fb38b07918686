"""Find how a file stores its tensors: under which key, with which prefix before the names, in which text encoding."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from reidhub.weights.containers import open_container


@dataclass(frozen=True, slots=True)
class Wrapping:
    """How a file stores its tensors. Other tools need these facts; `reidhub.read_weights` finds them by itself.

    Args:
        root: key under which the file has the mapping with the tensors; empty if the whole file is this mapping.
        prefix: prefix of every name, such as ``module.``.
        latin1: True if the file has byte strings of Python 2 that are not ASCII.
    """

    root: str
    prefix: str
    latin1: bool


def find_wrapping(path: Path, tensors: Mapping[str, Tensor]) -> Wrapping | None:
    """Find under which key and with which name prefix a file stores ``tensors``; None if the search fails."""
    with open_container(path, "latin1") as container:
        content = container.content
    below = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, dict)}
    for root, mapping in {"": content, **below}.items():
        if (prefix := _find_prefix(mapping, tensors)) is not None:
            return Wrapping(root, prefix, _needs_latin1(path))
    return None


def _find_prefix(mapping: Mapping[Any, Any], tensors: Mapping[str, Tensor]) -> str | None:
    """Return the prefix of a mapping's keys: key = prefix + name of a tensor; None if this is wrong for any key.

    For the keys ``module.a``, ``module.b`` and tensors ``a``, ``b``, the prefix is ``module.``. If keys and names are
    equal, it is empty. Keys and names must be in the same order.
    """
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
