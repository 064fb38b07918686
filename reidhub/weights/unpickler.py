"""Reads a pickle into plain values: mappings, lists, texts, numbers, and descriptions of tensors.

All opcodes are checked before anything is unpickled. A file with too many opcodes is refused, because it would take too
much time and memory. A file with too many tuples is refused, because hashing a deeply nested tuple overflows the
interpreter's stack. A file is also refused if it uses a very high index of the unpickler's memo, because the memo
would get large.

Each class or function that the pickle names is replaced by a stand-in from `_ALLOWED`; any other name is an error. No
stand-in imports anything or allocates memory of a size that the file chooses.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch

from reidhub.errors import WeightsError

MOST_OPCODES = 2_000_000  # a checkpoint takes about 30 for each tensor; the largest of the zoo has 20,000 in all
MOST_TUPLES = 50_000  # CPython's stack overflows between 100,000 and 200,000 nested tuples

_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_REFUSED = frozenset({"EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEWOBJ_EX", "NEXT_BUFFER", "READONLY_BUFFER", "PERSID"})


@dataclass(frozen=True, slots=True)
class Extent:
    """The length of one pickle in a file.

    Args:
        size: number of bytes.
        opcodes: number of opcodes.
    """

    size: int
    opcodes: int


def scan_pickle(stream: BinaryIO) -> Extent:
    """Check the opcodes of the pickle that starts at the stream's position, and return the pickle's length.

    Raises:
        WeightsError: the pickle does not end, is too complex, or has opcodes that no checkpoint has.
    """
    start = stream.tell()
    opcodes = tuples = 0
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            opcodes += 1
            tuples += opcode.name in _TUPLES
            if opcode.name in _REFUSED:
                raise WeightsError(f"the pickle has the opcode {opcode.name}, which no checkpoint has")
            if opcodes > MOST_OPCODES or tuples > MOST_TUPLES:
                raise WeightsError("the pickle is more complex than in any checkpoint")
            if opcode.name in _PUTS and isinstance(argument, int) and argument > MOST_OPCODES:
                raise WeightsError("the pickle has higher memo indices than any checkpoint")
    except ValueError as error:
        raise WeightsError(f"the pickle is cut off or damaged ({error})") from error
    return Extent(stream.tell() - start, opcodes)


@dataclass(frozen=True, slots=True)
class StorageType:
    """A stand-in for a storage class such as ``torch.FloatStorage``: its dtype, or None for an untyped storage."""

    dtype: torch.dtype | None


@dataclass(frozen=True, slots=True)
class Storage:
    """A reference to the bytes of one or more tensors in the file; the bytes are not read yet.

    Args:
        key: name of the storage in the file.
        dtype: dtype of the elements; None for an untyped storage, which consists of bytes.
        offset: number of elements to skip at the start of the stored bytes.
        numel: number of elements after the skipped ones.
    """

    key: str
    dtype: torch.dtype | None
    offset: int
    numel: int


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """The description of a tensor in a pickle. It is not checked yet, and the values are not read yet."""

    storage: Any
    offset: Any
    size: Any
    stride: Any
    dtype: Any


class Opaque:
    """A stand-in for an object that is no weight; it keeps none of the object's data."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class ArraySpec:
    """A stand-in for a NumPy array: its shape, dtype and bytes as the file has them, not checked yet."""

    shape: Any = None
    dtype: Any = None
    fortran: Any = False
    data: Any = b""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state


class DTypeSpec:
    """A stand-in for a NumPy dtype: its code, such as ``f4``, and its byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code
        self.order: Any = "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


@dataclass(frozen=True, slots=True)
class Pickled:
    """The value of one pickle, and the position in the file at which the pickle ends."""

    value: Any
    end: int


def read_pickle(
    file: BinaryIO, at: int, encoding: str, *, persistent: Callable[[Any], Storage] | None = None
) -> Pickled:
    """Read the pickle that starts at a position of a file.

    Args:
        file: the file.
        at: position of the pickle, in bytes.
        encoding: text encoding of byte strings that Python 2 pickled.
        persistent: converts a reference to a storage into a `Storage`; None if the pickle must have no such reference.

    Raises:
        WeightsError: the pickle is damaged or too complex, or names a class or function that is not allowed.
    """
    file.seek(at)
    extent = scan_pickle(file)
    file.seek(at)
    value = _Unpickler(file.read(extent.size), encoding, extent, persistent).load()
    return Pickled(value, at + extent.size)


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, encoding: str, extent: Extent, persistent: Callable[[Any], Storage] | None) -> None:
        super().__init__(io.BytesIO(data), fix_imports=False, encoding=encoding)
        self._persistent = persistent
        self._pairs_left = extent.opcodes  # a pickle without reused lists has at least one opcode for each pair

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _MAPPINGS:
            return self._make_mapping
        if full in _ALLOWED:
            return _ALLOWED[full]
        if full in _REFUSED_KINDS:
            raise WeightsError(f"it holds {_REFUSED_KINDS[full]}, which is not read")
        raise WeightsError(
            f"it holds an object of the class {full[:100]!r}, which only running code can create",
            hint="save the state dict alone: torch.save(model.state_dict(), path)",
        )

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise WeightsError("the pickle refers to bytes where this is not allowed")
        return self._persistent(pid)

    def _make_mapping(self, *given: Any) -> dict[Any, Any]:
        """Create the stand-in for a mapping, such as an OrderedDict or a Counter, from its (key, value) pairs."""
        mapping: dict[Any, Any] = StandInMapping()
        for part in given:
            pairs = list(part.items()) if type(part) is dict else part if isinstance(part, list) else []
            self._pairs_left -= len(pairs)
            if self._pairs_left < 0:
                raise WeightsError("the pickle repeats mappings more often than any checkpoint")
            mapping.update(_unpack_pair(pair) for pair in pairs)
        return mapping


class StandInMapping(dict[Any, Any]):
    """A stand-in for a mapping; it drops the mapping's attributes, such as ``_metadata`` of a state dict."""

    def __setstate__(self, state: Any) -> None:
        pass


def _unpack_pair(pair: Any) -> tuple[Any, Any]:
    key, value = pair
    return key, value


def _describe_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorSpec:
    return TensorSpec(storage, offset, size, stride, None)


def _describe_tensor_with_dtype(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> TensorSpec:
    return TensorSpec(storage, offset, size, stride, rest[2])


def _unwrap_parameter(data: Any, *_: Any) -> Any:
    return data


def _encode(text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    """Turn text into bytes: pickle protocol 2 cannot store bytes, so Python 3 stores them as latin1 text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise WeightsError("the pickle writes bytes in a way that no checkpoint does")
    return text.encode("latin1")


def _keep(value: Any = (), *_: Any) -> Any:
    """Stand-in for ``torch.Size``: the pickle calls it with a tuple, and gets the same tuple back."""
    return value


_STORAGES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}

_MAPPINGS = frozenset(
    {"collections.OrderedDict", "collections.Counter", "collections.defaultdict", "__builtin__.dict", "builtins.dict"}
)


def _allow_in(modules: Iterable[str], name: str, stand_in: Any) -> Mapping[str, Any]:
    return {f"{module}.{name}": stand_in for module in modules}


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUILTIN = ("__builtin__", "builtins")

_ALLOWED: dict[str, Any] = {
    **{f"torch.{name}Storage": StorageType(dtype) for name, dtype in _STORAGES.items()},
    **{str(dtype): dtype for dtype in _STORAGES.values()},
    **{f"torch.{name}": getattr(torch, name) for name in ("uint16", "uint32", "uint64")},
    "torch.storage.UntypedStorage": StorageType(None),
    "torch.UntypedStorage": StorageType(None),
    "torch._utils._rebuild_tensor": _describe_tensor,
    "torch._utils._rebuild_tensor_v2": _describe_tensor,
    "torch._utils._rebuild_tensor_v3": _describe_tensor_with_dtype,
    "torch._utils._rebuild_parameter": _unwrap_parameter,
    "torch._utils._rebuild_parameter_with_state": _unwrap_parameter,
    "torch.Size": _keep,
    "torch.device": Opaque,
    "_codecs.encode": _encode,
    "argparse.Namespace": Opaque,
    "types.SimpleNamespace": Opaque,
    "numpy.dtype": DTypeSpec,
    "numpy.ndarray": ArraySpec,
    **_allow_in(_NUMPY, "scalar", Opaque),
    **_allow_in(_NUMPY, "_reconstruct", ArraySpec),
    **_allow_in(_BUILTIN, "set", Opaque),
    **_allow_in(_BUILTIN, "frozenset", Opaque),
    **_allow_in(_BUILTIN, "complex", Opaque),
    **_allow_in(_BUILTIN, "bytearray", Opaque),
    **_allow_in(_BUILTIN, "list", Opaque),
}

_REFUSED_KINDS = {
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_sparse_csr_tensor": "a sparse tensor",
    "torch._utils._rebuild_qtensor": "a quantized tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without data",
    "torch._utils._rebuild_wrapper_subclass": "a tensor of a class of its own",
    "torch._tensor._rebuild_from_type_v2": "a tensor of a class of its own",
}
