"""Finds the weights in the content of a checkpoint file: under which key they are, and which prefix is removed."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import Tensor

from reidhub.errors import WeightsError
from reidhub.files.sniff import make_printable
from reidhub.weights.containers import STATE_DICT
from reidhub.weights.stand_ins import ArraySpec, Opaque, OtherTensor, TensorSpec
from reidhub.zoo.artifact import StateDictLayout

_LONGEST_NAME = 1000  # characters

_PREFIXES = ("module.", "_orig_mod.")  # nn.DataParallel and torch.compile put them before every name
_WRAPPERS = 3  # most of these prefixes before a name
_AVERAGED = "n_averaged"  # count that torch.optim.swa_utils.AveragedModel saves beside the names with ``module.``
_USUAL_ROOTS = ("state_dict", "model")  # the first of these, if a file has several mappings of tensors
_SHOWN = 6  # keys in a message
_TENSORS = (TensorSpec, ArraySpec, OtherTensor, Tensor)


@dataclass(frozen=True, slots=True)
class Entries:
    """The mapping of a file that has its weights.

    Args:
        root: key under which the file has the mapping; empty if the whole content of the file is this mapping.
        prefix: prefix that was removed from every name.
        tensors: the new name, without the prefix -> tensor, or a description of it that is not checked yet.
    """

    root: str
    prefix: str
    tensors: Mapping[str, Any]


def find_entries(content: Any, layout: StateDictLayout) -> Entries:
    """Find the weights in the content of a file.

    Raises:
        WeightsError: the file has no weights, or several mappings of weights, or two tensors would get the same name.
    """
    root, found = _find_root(content, layout)
    found = _drop_average_count(found)
    prefix = _find_prefix(found, layout.strip_prefix)
    plain = {name.removeprefix(prefix): value for name, value in found.items()}
    return Entries(root, prefix, _rename(plain, layout.rename) if layout.rename else plain)


def list_roots(content: Any) -> list[str]:
    """List the keys under which the content of a file has mappings of tensors; empty if it is such a mapping itself."""
    if not isinstance(content, dict) or _select_tensors(content, ()) is not None:
        return []
    return [key for key in _find_mappings(content, ()) if type(key) is str]


def _find_root(content: Any, layout: StateDictLayout) -> tuple[str, dict[str, Any]]:
    """Find the mapping of names to tensors in a file's content: the content itself, or one of its values."""
    if not isinstance(content, dict):
        hint = STATE_DICT if isinstance(content, Opaque) else None
        raise WeightsError(f"it holds {_name_kind(content)} instead of a mapping of names to tensors", hint=hint)
    if (root := layout.root) is not None:
        where, chosen = ("at its top", content) if root == "" else (f"under {root!r}", content.get(root))
        if (found := _select_tensors(chosen, layout.skip)) is None:
            raise WeightsError(f"{_describe(chosen)} {where}; expected names and tensors")
        return root, found
    if (found := _select_tensors(content, layout.skip)) is not None:
        return "", found
    below = _find_mappings(content, layout.skip)
    if not below:
        raise WeightsError(f"{_describe(content)}; expected a mapping of names to tensors", hint=STATE_DICT)
    usual = [root for root in _USUAL_ROOTS if root in below]
    if len(below) > 1 and not usual:
        raise _explain_choice(below)
    key = next(iter(usual or below))
    return str(key), below[key]


def _find_mappings(content: Mapping[Any, Any], skip: tuple[str, ...]) -> dict[Any, dict[str, Any]]:
    distinct = {id(value): (key, value) for key, value in content.items()}  # a file can repeat one mapping many times
    selected = {key: _select_tensors(value, skip) for key, value in distinct.values()}
    return {key: found for key, found in selected.items() if found is not None}


def _select_tensors(value: Any, skip: tuple[str, ...]) -> dict[str, Any] | None:
    """Return a mapping without the names to skip; None unless the rest is a non-empty mapping of names to tensors."""
    if not isinstance(value, dict):
        return None
    kept = {name: part for name, part in value.items() if not _is_skipped(name, skip)} if skip else value
    fits = bool(kept) and all(_is_name(name) and isinstance(part, _TENSORS) for name, part in kept.items())
    return kept if fits else None


def _is_name(key: Any) -> bool:
    return type(key) is str and len(key) <= _LONGEST_NAME


def _is_skipped(key: Any, skip: tuple[str, ...]) -> bool:
    return type(key) is str and any(key == part or (part.endswith(".") and key.startswith(part)) for part in skip)


def _explain_choice(below: Mapping[Any, dict[str, Any]]) -> WeightsError:
    """Return the error for several mappings of tensors; the hint chooses the largest."""
    root = _name_key(max(below, key=lambda key: len(below[key])))
    entry = f"choose one, in a manifest entry of your own (`layout: {{root: {root}}}`)"
    call = f"or with read_weights(path, layout=StateDictLayout(root={root!r}))"
    more = ", ..." if len(below) > _SHOWN else ""
    listed = ", ".join(map(_name_key, islice(below, _SHOWN))) + more
    return WeightsError(f"it holds several mappings of tensors: {listed}", hint=f"{entry} {call}")


def _drop_average_count(entries: dict[str, Any]) -> dict[str, Any]:
    """Remove the count of averaged models, if the names are those of torch.optim.swa_utils.AveragedModel."""
    others = {name: value for name, value in entries.items() if name != _AVERAGED}
    return others if others and all(name.startswith(_PREFIXES[0]) for name in others) else entries


def _find_prefix(entries: Mapping[str, Any], wanted: str | None) -> str:
    """Return the prefix to remove from all names: the ``wanted`` one; if it is None, the `_PREFIXES` of all names.

    Raises:
        WeightsError: a name does not start with the ``wanted`` prefix.
    """
    prefix = wanted or ""
    for _ in range(_WRAPPERS if wanted is None else 0):
        longer = (prefix + part for part in _PREFIXES)
        prefix = next((part for part in longer if all(name.startswith(part) for name in entries)), prefix)
    odd = next((name for name in entries if not name.startswith(prefix)), None)
    if odd is not None:
        raise WeightsError(f"expected names that start with {prefix!r}, got {make_printable(odd)!r}")
    return prefix


def _rename(entries: Mapping[str, Any], renames: Mapping[str, str]) -> dict[str, Any]:
    """Give tensors the names that they have in the architecture; see `StateDictLayout.rename`."""
    renamed: dict[str, Any] = {}
    for name, value in entries.items():
        old = next((old for old in renames if name == old or (old.endswith(".") and name.startswith(old))), None)
        new = name if old is None else renames[old] + name.removeprefix(old)
        if new in renamed:
            raise WeightsError(f"two of its tensors would be called {make_printable(new)!r}")
        renamed[new] = value
    return renamed


def _describe(content: Any) -> str:
    """Describe content that has no weights, for an error message; it shows only the first keys, shortened."""
    if not isinstance(content, dict):
        return f"it holds {_name_kind(content)}"
    parts = [_name_entry(key, value) for key, value in islice(content.items(), _SHOWN)]
    return f"it holds a mapping with {', '.join(parts) or 'nothing in it'}"


def _name_entry(key: Any, value: Any) -> str:
    return f"{_name_key(key)} ({_name_kind(value)})" if isinstance(value, Opaque) else _name_key(key)


def _name_key(key: Any) -> str:
    return make_printable(key, 40) if type(key) is str else _name_kind(key)


def _name_kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, _TENSORS):
        return "a single tensor"
    if isinstance(value, Opaque):
        return f"an object of the class {make_printable(value.kind)!r}"
    return "an object of another kind" if type(value).__module__.startswith("reidhub") else f"a {type(value).__name__}"
