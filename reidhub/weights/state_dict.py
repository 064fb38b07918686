"""Reads the tensors of a checkpoint file of any format and checks each of them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reidhub.errors import WeightsError
from reidhub.files.sniff import make_printable
from reidhub.weights.containers import Container, open_container
from reidhub.weights.unpickler import ArraySpec, DTypeSpec, Storage, TensorSpec
from reidhub.zoo.checkpoint import StateDictLayout

_ANY = StateDictLayout()


def read_weights(path: Path | str, *, layout: StateDictLayout = _ANY) -> dict[str, Tensor]:
    """Read the weights from a checkpoint file: zip or legacy format of `torch.save`, or safetensors.

    Files that Python 2.7 wrote can be read too. Other content (epoch, optimizer, arguments) is ignored. NumPy arrays
    become tensors.

    Args:
        path: the checkpoint file.
        layout: how the file stores its tensors. If ``root`` is None, the tensors may be at the top level or under one
            key, such as ``state_dict``. If ``strip_prefix`` is None and every name starts with ``module.``, this prefix
            is removed.

    Returns:
        A non-empty mapping of names to dense, finite, real CPU tensors, in the file's order.

    Raises:
        WeightsError: the file has another format, is damaged, or needs code from the file to be run.
    """
    path = Path(path)
    try:
        with open_container(path, layout.encoding) as container:
            return find_state_dict(container, layout)
    except WeightsError as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damaged bytes make pickle, zipfile and torch raise nearly anything
        raise WeightsError(f"{path}: damaged, or not a checkpoint ({type(error).__name__})", hint=_AGAIN) from error


_AGAIN = "fetch the file again"


MOST_TENSORS = 50_000  # the largest file of the zoo has 900
_LONGEST_NAME = 1000  # characters
_SLACK = 1 << 20  # bytes that all tensors may have beyond `_MOST_COPIES` times the size of the file
_MOST_COPIES = 2  # above 1, because a file stores tied weights only once

_PREFIX = "module."  # nn.DataParallel adds it to every name
_WRAPPERS = 2  # most nn.DataParallel inside each other
_USUAL_ROOT = "state_dict"
_ARRAYS = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"})


def find_state_dict(container: Container, layout: StateDictLayout) -> dict[str, Tensor]:
    """Find the weights in an open file, in the form that `reidhub.read_weights` returns.

    Raises:
        WeightsError: the file has no weights, or a tensor is not dense, finite and real.
    """
    entries = _strip_prefix(_find_root(container.content, layout.root), layout.strip_prefix)
    if len(entries) > MOST_TENSORS:
        raise WeightsError(f"it holds {len(entries)} tensors; at most {MOST_TENSORS} are read")
    budget = _Budget(_MOST_COPIES * container.size + _SLACK)
    tensors = {name: _make_tensor(name, value, container, budget) for name, value in entries.items()}
    for name, tensor in tensors.items():
        _check_values(name, tensor)
    return tensors


def _find_root(content: Any, root: str | None) -> dict[str, Any]:
    """Find the mapping of names to tensors in a file's content: the content itself, or one of its values."""
    if not isinstance(content, dict):
        raise WeightsError(f"it holds {_name_kind(content)} instead of a mapping of names to tensors")
    if root is not None:
        where, found = ("at its top", content) if root == "" else (f"under {root!r}", content.get(root))
        if not _holds_tensors(found):
            raise WeightsError(f"{_describe(found)} {where}; expected names and tensors")
        return dict(found or {})
    if _holds_tensors(content):
        return content
    below = {key: value for key, value in content.items() if _holds_tensors(value)}
    if not below:
        raise WeightsError(f"{_describe(content)}; expected a mapping of names to tensors")
    if len(below) > 1 and _USUAL_ROOT not in below:
        raise WeightsError(f"it holds several mappings of tensors: {', '.join(map(_name_key, below))}")
    return dict(below[_USUAL_ROOT] if _USUAL_ROOT in below else next(iter(below.values())))


def _holds_tensors(value: Any) -> bool:
    """Return True if the value is a non-empty mapping of names to tensors only."""
    if not isinstance(value, dict) or not value:
        return False
    return all(_is_name(name) and isinstance(part, TensorSpec | ArraySpec | Tensor) for name, part in value.items())


def _is_name(key: Any) -> bool:
    return type(key) is str and len(key) <= _LONGEST_NAME


def _strip_prefix(entries: dict[str, Any], prefix: str | None) -> dict[str, Any]:
    """Remove ``prefix`` from all names. None stands for ``module.``, but only if all names start with ``module.``."""
    if prefix is None:
        for _ in range(_WRAPPERS):
            if all(name.startswith(_PREFIX) for name in entries):
                entries = {name.removeprefix(_PREFIX): value for name, value in entries.items()}
        return entries
    if not all(name.startswith(prefix) for name in entries):
        odd = next(name for name in entries if not name.startswith(prefix))
        raise WeightsError(f"expected names that start with {prefix!r}, got {odd!r}")
    return {name.removeprefix(prefix): value for name, value in entries.items()}


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
    tensor = elements.as_strided(size, stride)
    return tensor if tensor.is_contiguous() else tensor.contiguous()


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
    tensor = torch.from_numpy(native).contiguous()
    budget.spend(tensor.numel(), tensor.dtype, name)
    return tensor


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) <= 32 and all(type(v) is int and 0 <= v < 1 << 40 for v in values)


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
    return f"it holds a mapping with {', '.join(map(_name_key, list(content)[:6])) or 'nothing in it'}"


def _name_key(key: Any) -> str:
    return make_printable(key, 40) if type(key) is str else _name_kind(key)


def _name_kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, TensorSpec | ArraySpec | Tensor):
        return "a single tensor"
    return "an object of another kind" if type(value).__module__.startswith("reidhub") else f"a {type(value).__name__}"
