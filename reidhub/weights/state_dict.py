"""Reads the tensors of a checkpoint file of any format and checks each of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reidhub.errors import WeightsError
from reidhub.files.regular_file import make_path
from reidhub.files.sniff import make_printable
from reidhub.weights.containers import MOST_DIMENSIONS, MOST_TENSORS, STATE_DICT, Container, open_container
from reidhub.weights.stand_ins import ArraySpec, DTypeSpec, Opaque, OtherTensor, Storage, TensorSpec
from reidhub.weights.storages import AGAIN
from reidhub.zoo.checkpoint import StateDictLayout

_ANY = StateDictLayout()


def read_weights(path: Path | str, *, layout: StateDictLayout = _ANY) -> dict[str, Tensor]:
    """Read the weights from a checkpoint file: zip or legacy format of `torch.save`, or safetensors.

    Files that Python 2.7 wrote can be read too. Other content (epoch, optimizer, paths, objects of any class) is
    ignored. NumPy arrays become tensors.

    Args:
        path: the checkpoint file.
        layout: how the file stores its tensors. If ``root`` is None, the tensors may be at the top level or under one
            key. If several keys have tensors, such as ``model`` and ``model_ema``, the key is ``state_dict``, or else
            ``model``. If ``strip_prefix`` is None and every name starts with ``module.`` or
            ``_orig_mod.``, this prefix is removed.

    Returns:
        A non-empty mapping of names to dense, finite, real CPU tensors, in the file's order.

    Raises:
        WeightsError: the file has another format, is damaged, or has its weights in an object that only code from the
            file can create.
        UsageError: ``path`` is neither a text nor a path.
    """
    path = make_path(path)
    try:
        with open_container(path, layout.encoding) as container:
            return _make_tensors(find_entries(container.content, layout).tensors, container)
    except WeightsError as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damaged bytes make pickle, zipfile and torch raise nearly anything
        raise WeightsError(f"{path}: damaged, or not a checkpoint ({type(error).__name__})", hint=AGAIN) from error


_LONGEST_NAME = 1000  # characters
_SLACK = 1 << 20  # bytes that all tensors may have beyond `_MOST_COPIES` times the size of the file
_MOST_COPIES = 2  # above 1, because a file stores tied weights only once

_PREFIXES = ("module.", "_orig_mod.")  # nn.DataParallel and torch.compile put them before every name
_WRAPPERS = 3  # most of these prefixes before a name
_AVERAGED = "n_averaged"  # count that torch.optim.swa_utils.AveragedModel saves beside the names with ``module.``
_USUAL_ROOTS = ("state_dict", "model")  # the first of these, if a file has several mappings of tensors
_SHOWN = 6  # keys in a message
_TENSORS = (TensorSpec, ArraySpec, OtherTensor, Tensor)
_ARRAYS = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"})


@dataclass(frozen=True, slots=True)
class Entries:
    """The mapping of a file that has its weights.

    Args:
        root: key under which the file has the mapping; empty if the whole content of the file is this mapping.
        prefix: prefix that was removed from every name.
        tensors: name without the prefix -> tensor, or a description of it that is not checked yet.
    """

    root: str
    prefix: str
    tensors: Mapping[str, Any]


def find_entries(content: Any, layout: StateDictLayout) -> Entries:
    """Find the weights in the content of a file.

    Raises:
        WeightsError: the file has no weights, or several mappings of weights.
    """
    root, found = _find_root(content, layout)
    found = _drop_average_count(found)
    prefix = _find_prefix(found, layout.strip_prefix)
    return Entries(root, prefix, {name.removeprefix(prefix): value for name, value in found.items()})


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


def _make_tensors(entries: Mapping[str, Any], container: Container) -> dict[str, Tensor]:
    """Make and check the tensors from their descriptions.

    Raises:
        WeightsError: there are too many tensors, or a tensor is not dense, finite and real.
    """
    if len(entries) > MOST_TENSORS:
        raise WeightsError(f"it holds {len(entries)} tensors; at most {MOST_TENSORS} are read")
    budget = _Budget(_MOST_COPIES * container.size + _SLACK)
    tensors = {name: _make_tensor(name, value, container, budget) for name, value in entries.items()}
    for name, tensor in tensors.items():
        _check_values(name, tensor)
    return tensors


class _Budget:
    """A limit on the bytes of all tensors of one file together; `spend` raises an error when it is exceeded."""

    def __init__(self, size: int) -> None:
        self._left = size

    def spend(self, numel: int, dtype: torch.dtype, name: str) -> None:
        self._left -= numel * dtype.itemsize
        if self._left < 0:
            raise WeightsError(f"tensor {name!r} is larger than the file can hold")


def _make_tensor(name: str, value: Any, container: Container, budget: _Budget) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, OtherTensor):
        raise WeightsError(f"tensor {name!r} is {value.kind}, which is not read")
    if isinstance(value, ArraySpec):
        return _convert_array(name, value, budget)
    return _read_tensor(name, value, container, budget)


def _read_tensor(name: str, spec: TensorSpec, container: Container, budget: _Budget) -> Tensor:
    storage, size, stride, offset = spec.storage, spec.size, spec.stride, spec.offset
    dtype = spec.dtype or getattr(storage, "dtype", None)
    if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
        raise WeightsError(f"tensor {name!r} has no storage of a known dtype")
    if not (_are_counts(size) and _are_counts(stride) and _are_counts((offset,)) and len(size) == len(stride)):
        raise WeightsError(f"tensor {name!r} has no proper shape")
    numel = math.prod(size)
    held = storage.numel if storage.dtype is not None else storage.numel // dtype.itemsize
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if numel else -1
    if last >= held:
        raise WeightsError(f"tensor {name!r} reaches beyond its storage")
    if numel > held:
        raise WeightsError(f"tensor {name!r} is larger than its storage")
    budget.spend(numel, dtype, name)
    if not numel:
        return torch.empty(size, dtype=dtype, device="cpu")
    elements = container.read_elements(Storage(storage.key, dtype, storage.offset + offset, last - offset + 1), dtype)
    return _set_usual_strides(elements.as_strided(size, stride))


def _convert_array(name: str, array: ArraySpec, budget: _Budget) -> Tensor:
    data = array.data.encode("latin1") if isinstance(array.data, str) else array.data
    code = array.dtype.code if isinstance(array.dtype, DTypeSpec) else None
    shape = array.shape
    if code not in _ARRAYS or not _are_counts(shape) or not isinstance(data, bytes):
        raise WeightsError(f"array {name!r} does not hold plain numbers")
    order = array.dtype.order if array.dtype.order in ("<", ">") else "|" if code[1] == "1" else "<"
    dtype = np.dtype(order + code)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise WeightsError(f"array {name!r} has {len(data)} bytes for the shape {shape}")
    flat = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
    native = flat.reshape(shape, order="F") if array.fortran else flat.reshape(shape)
    tensor = _set_usual_strides(torch.from_numpy(native))
    budget.spend(tensor.numel(), tensor.dtype, name)
    return tensor


def _set_usual_strides(tensor: Tensor) -> Tensor:
    """Return the tensor with the strides that a new tensor of its shape has.

    A dimension of 1 may have any stride. `Tensor.contiguous` keeps it, but kernels choose their algorithm by it, and
    the last digits of a result depend on the algorithm.
    """
    usual = torch.empty(tensor.shape, device="meta").stride()
    return tensor if tensor.stride() == usual else tensor.clone(memory_format=torch.contiguous_format)


def _are_counts(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= MOST_DIMENSIONS
        and all(type(v) is int and 0 <= v < 1 << 40 for v in values)
    )


def _check_values(name: str, tensor: Tensor) -> None:
    if tensor.layout != torch.strided or tensor.dtype.is_complex or tensor.is_quantized:
        raise WeightsError(f"tensor {name!r} is not dense and real: {tensor.layout}, {tensor.dtype}")
    if tensor.is_floating_point():
        values = tensor if tensor.dtype.itemsize > 1 else tensor.float()
        if not values.isfinite().all():
            raise WeightsError(f"tensor {name!r} holds NaN or infinity")


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
