"""Find how a file stores its tensors: under which key, with which prefix before the names, in which text encoding."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from reidhub.weights.containers import open_container
from reidhub.weights.entries import find_entries, list_roots
from reidhub.zoo.artifact import StateDictLayout

_MOST_SKIPPED = 8  # names in a hint
_PLAIN = re.compile(r"[\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wrapping:
    """How a file stores its tensors. Other tools need these facts; `reidhub.read_weights` finds them by itself.

    Args:
        root: key under which the file has the mapping with the tensors; empty if the whole file is this mapping.
        prefix: prefix of every name, such as ``module.``.
        latin1: True if the file has byte strings of Python 2 that are not ASCII.
        other_roots: other keys under which the file has mappings with tensors, such as ``model_ema``.
    """

    root: str
    prefix: str
    latin1: bool
    other_roots: tuple[str, ...] = ()


def find_wrapping(path: Path, layout: StateDictLayout) -> Wrapping:
    """Find under which key and with which name prefix a file stores its tensors.

    Args:
        path: a file that `reidhub.read_weights` can read with this layout.
        layout: what is known of the file.
    """
    with open_container(path, layout.encoding) as container:
        entries = find_entries(container.content, layout)
        others = tuple(root for root in list_roots(container.content) if root != entries.root)
    return Wrapping(entries.root, entries.prefix, _needs_latin1(path), others)


def _needs_latin1(path: Path) -> bool:
    try:
        with open_container(path, "ascii"):
            return False
    except UnicodeDecodeError:
        return True


def make_layout(wrapping: Wrapping, prefix: str, wanted: Collection[str], spare: Collection[str]) -> StateDictLayout:
    """Make the layout of a manifest entry that reads some tensors of a file and leaves out the others.

    What `reidhub.read_weights` finds by itself is not in it.

    Args:
        wrapping: how the file stores its tensors.
        prefix: prefix to remove from the names in ``wanted``, beside the prefix in ``wrapping``.
        wanted: names of the tensors to read, without the prefix in ``wrapping``.
        spare: names of the other tensors, without the prefix in ``wrapping``.
    """
    removed = wrapping.prefix
    taken = {_name_module(removed + name) for name in wanted}
    modules = ((removed + name, _name_module(removed + name)) for name in spare)
    skip = dict.fromkeys(name if module in taken else module or name for name, module in modules)
    return StateDictLayout(
        root=wrapping.root if wrapping.other_roots else None,
        strip_prefix=(removed + prefix or None) if prefix or skip else None,
        skip=tuple(skip),
    )


def describe_layout(layout: StateDictLayout) -> str | None:
    """Write prefix and names to skip of a layout as in a manifest: ``layout: {strip_prefix: 'model.', skip: ['c']}``.

    Returns:
        None if there are too many names to list, or if a name has characters with a meaning in YAML.
    """
    prefix, skip = layout.strip_prefix or "", list(layout.skip)
    if len(skip) > _MOST_SKIPPED or not all(map(_PLAIN.fullmatch, (prefix, *skip))):
        return None
    fields = ([f"strip_prefix: {prefix!r}"] if prefix else []) + ([f"skip: {skip}"] if skip else [])
    return f"layout: {{{', '.join(fields)}}}"


def _name_module(name: str) -> str:
    """Return the first module in the name of a tensor, with the dot after it; empty if there is none."""
    return name[: name.find(".") + 1]
