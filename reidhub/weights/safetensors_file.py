"""Reads and writes safetensors files.

Reading and writing need the memory of the tensors only once. The two functions of the safetensors library that write
are not used: `save` returns the whole file as bytes, and `save_file` raises no OSError if the disk is full.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reidhub.errors import WeightsError
from reidhub.weights.storages import AGAIN, MOST_DIMENSIONS, MOST_TENSORS

_LONGEST_HEADER = 100_000_000  # bytes; the limit in the safetensors format
_MOST_MARKS = 20 * MOST_TENSORS  # brackets and commas in a safetensors header; it has about 10 for each tensor
_SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "BOOL": torch.bool,
}
_KINDS = {dtype: kind for kind, dtype in _SAFETENSORS_DTYPES.items()}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file; they share one block of memory.

    Raises:
        WeightsError: the file is damaged, or cannot be read, for example because it was removed meanwhile.
    """
    from safetensors import SafetensorError

    try:
        return _read_tensors(path)
    except SafetensorError as error:
        raise WeightsError(f"it is damaged: {error}", hint=AGAIN) from error
    except (OSError, ValueError, RuntimeError) as error:  # the last two are raised if the file was changed meanwhile
        raise WeightsError(f"it cannot be read: {error}", hint=AGAIN) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the same as ``safetensors.torch.load_file``, in a quarter of the time.

    ``offset_keys`` of the safetensors library gives the names of the tensors in the order of the file. The tensors
    follow the header without gaps; the library checks this.
    """
    from safetensors import safe_open

    tensors = {}
    with path.open("rb") as file:
        _check_header(file)
        with safe_open(path, framework="np") as header:
            state = os.fstat(file.fileno())
            if not os.path.samestat(state, path.stat()):
                raise WeightsError("another file replaced it while it was read", hint="read it again")
            names = header.offset_keys()
            if len(names) > MOST_TENSORS:
                raise WeightsError(f"it holds {len(names)} tensors; at most {MOST_TENSORS} are read")
            memory = np.empty(state.st_size, np.uint8)
            file.seek(0)
            if file.readinto(memory.data) < memory.size:
                raise WeightsError("it became shorter while it was read", hint="read it again")
            at = 8 + int.from_bytes(memory[:8].tobytes(), "little")
            for name in names:
                tensors[name] = _view_tensor(memory, at, name, header.get_slice(name))
                at += tensors[name].nbytes
    return tensors


def _check_header(file: BinaryIO) -> None:
    """Raise WeightsError if the header of a safetensors file has so many values that parsing it would take long."""
    header = file.read(min(int.from_bytes(file.read(8), "little"), _LONGEST_HEADER))
    if sum(header.count(mark) for mark in (b"{", b"[", b",")) > _MOST_MARKS:
        raise WeightsError(f"its header is longer than that of {MOST_TENSORS} tensors, the most that are read")


def _view_tensor(memory: NDArray[np.uint8], at: int, name: str, entry: Any) -> Tensor:
    """Make the tensor at byte ``at`` of a safetensors file; ``entry`` tells its shape and dtype."""
    shape, kind = entry.get_shape(), entry.get_dtype()
    dtype = _SAFETENSORS_DTYPES.get(kind)
    if dtype is None:
        raise WeightsError(f"tensor {name!r} is of the type {kind}, which no weights of the zoo have")
    if len(shape) > MOST_DIMENSIONS:
        raise WeightsError(f"tensor {name!r} has {len(shape)} dimensions; at most {MOST_DIMENSIONS} are read")
    numel = math.prod(shape)
    if not numel:
        return torch.empty(shape, dtype=dtype, device="cpu")
    return torch.frombuffer(memory, dtype=dtype, count=numel, offset=at).view(shape)


def is_safetensors(start: bytes, size: int) -> bool:
    """Return True if a file of ``size`` bytes that starts with these bytes can be a safetensors file."""
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and 2 <= length <= min(size - 8, _LONGEST_HEADER)


def serialise(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """Yield the content of a safetensors file in parts: the header, then the bytes of each tensor.

    The order of the tensors is that of the safetensors library: large elements first, then by name. So each tensor is
    aligned to the size of its elements, and the same tensors always give the same file.

    Args:
        tensors: name -> dense CPU tensor. They are not copied. They may share memory.
        metadata: texts for the header of the file.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name in order:
        tensor = tensors[name]
        place = [at, at + tensor.nbytes]
        header[name] = {"dtype": _KINDS[tensor.dtype], "shape": tensor.shape, "data_offsets": place}
        at += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in order:
        yield tensors[name].reshape(-1).view(torch.uint8).numpy().data
