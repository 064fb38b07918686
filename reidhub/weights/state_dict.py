"""Reads the tensors of a checkpoint file of any format and checks each of them."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reidhub.errors import WeightsError
from reidhub.files.regular_file import make_path
from reidhub.weights.containers import Container, open_container
from reidhub.weights.entries import find_entries
from reidhub.weights.stand_ins import ArraySpec, DTypeSpec, OtherTensor, Storage, TensorSpec
from reidhub.weights.storages import AGAIN, MOST_DIMENSIONS, MOST_TENSORS
from reidhub.zoo.artifact import StateDictLayout

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
        WeightsError: the file has another format, is damaged, has its weights in an object that only code from the
            file can create, or does not have the ``constants`` of its layout.
        UsageError: ``path`` is neither a text nor a path.
    """
    path = make_path(path)
    try:
        with open_container(path, layout.encoding) as container:
            tensors = _make_tensors(find_entries(container.content, layout).tensors, container)
        return _take_out_constants(tensors, layout.constants)
    except WeightsError as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damaged bytes make pickle, zipfile and torch raise nearly anything
        raise WeightsError(f"{path}: damaged, or not a checkpoint ({type(error).__name__})", hint=AGAIN) from error


_SLACK = 1 << 20  # bytes that all tensors may have beyond `_MOST_COPIES` times the size of the file
_MOST_COPIES = 2  # above 1, because a file stores tied weights only once
_SHOWN = 6  # numbers in a message
_OTHER_CODE = "the code that wrote it is not that of the published files"
_OTHER_INPUT = (
    "its model takes images that are prepared in another way; in a manifest entry of your own, leave such tensors out "
    "(`layout: {skip: [NAME]}`) and describe the images (`input`)"
)
_ARRAYS = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"})


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


def _take_out_constants(tensors: dict[str, Tensor], constants: Mapping[str, tuple[float, ...]]) -> dict[str, Tensor]:
    """Return the tensors without the constants.

    Raises:
        WeightsError: a constant is missing, or differs from its numbers by more than the rounding error of float32.
    """
    for name, numbers in constants.items():
        if name not in tensors:
            raise WeightsError(
                f"it does not hold the tensor {name!r}, which files of its layout have", hint=_OTHER_CODE
            )
        got = tensors[name].flatten().double()
        wanted = torch.tensor(numbers, dtype=torch.float64)
        if got.shape != wanted.shape or not torch.allclose(got, wanted, rtol=1e-6, atol=0):
            found = f"{[round(number, 4) for number in got[:_SHOWN].tolist()]}"
            raise WeightsError(f"expected {name} = {list(numbers)}, got {found}", hint=_OTHER_INPUT)
    return {name: tensor for name, tensor in tensors.items() if name not in constants}


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
        if tensor.numel() and not all(limit.isfinite() for limit in values.aminmax()):  # NaN if any value is NaN
            raise WeightsError(f"tensor {name!r} holds NaN or infinity")
