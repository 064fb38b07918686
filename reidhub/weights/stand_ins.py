"""The harmless objects that replace the classes and functions which a pickle names.

No stand-in imports anything or allocates memory of a size that the file chooses. Most stand-ins are shared by all files
that the process reads, so a pickle can call them, but not change them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from reidhub.errors import WeightsError


class StandIn:
    """Base of the stand-ins that a pickle must not change; the opcode BUILD, which changes objects, is an error."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise WeightsError("the pickle changes a class, function or tensor, which no checkpoint does")


# The dataclasses are not frozen, because a frozen one with slots gets a `__setstate__` that lets a pickle change it.
# `eq=False` makes Python hash them by identity, because hashing deeply nested values overflows the stack.


@dataclass(slots=True, eq=False)
class StorageType(StandIn):
    """A stand-in for a storage class such as ``torch.FloatStorage``: its dtype, or None for an untyped storage."""

    dtype: torch.dtype | None


@dataclass(slots=True, eq=False)
class Storage(StandIn):
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


@dataclass(slots=True, eq=False)
class TensorSpec(StandIn):
    """The description of a tensor in a pickle. It is not checked yet, and the values are not read yet."""

    storage: Any
    offset: Any
    size: Any
    stride: Any
    dtype: Any


@dataclass(slots=True, eq=False)
class OtherTensor(StandIn):
    """A stand-in for a tensor that is not read.

    Args:
        kind: what the tensor is, in words.
    """

    kind: str


@dataclass(slots=True, eq=False)
class Function(StandIn):
    """A stand-in for a function.

    Args:
        run: called with the arguments in the pickle.
    """

    run: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        return self.run(*arguments)


class Opaque:
    """A stand-in for an object that is no weight. It accepts everything that a pickle does to it, and keeps nothing.

    Attributes:
        kind: the name in the pickle, such as ``pathlib.PosixPath``.
    """

    __slots__ = ()
    kind = "object"

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any) -> "Opaque":
        """Return this object, because the result of a call is not kept either."""
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Take one item of a list."""

    def extend(self, items: Any) -> None:
        """Take items of a list."""

    def add(self, item: Any) -> None:
        """Take one item of a set."""


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


class StandInMapping(dict[Any, Any]):
    """A stand-in for a mapping; it drops the mapping's attributes, such as ``_metadata`` of a state dict."""

    def __setstate__(self, state: Any) -> None:
        pass


def _describe_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorSpec:
    return TensorSpec(storage, offset, size, stride, None)


def _describe_tensor_with_dtype(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> TensorSpec:
    return TensorSpec(storage, offset, size, stride, rest[2])


def _unwrap_parameter(data: Any, *_: Any) -> Any:
    return data


def _describe_tensor_with_attributes(function: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """Describe a tensor of a subclass, or one with attributes; the subclass and the attributes are dropped."""
    return function(*arguments) if isinstance(function, Function) else OtherTensor("a tensor of an unknown class")


def _encode(text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    """Turn text into bytes: pickle protocol 2 cannot store bytes, so Python 3 stores them as latin1 text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise WeightsError("the pickle writes bytes in a way that no checkpoint does")
    return text.encode("latin1")


def _make_no_bytes(*_: Any) -> bytes:
    """Return empty bytes, which pickle protocol 2 stores as a call of ``bytes`` without arguments."""
    return b""


def _keep(value: Any = (), *_: Any) -> Any:
    """Return the first argument: a pickle calls ``torch.Size`` with a tuple, and gets the same tuple back."""
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
    "QInt8": torch.qint8,
    "QUInt8": torch.quint8,
    "QInt32": torch.qint32,
}

_OTHER_TENSORS = {
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_sparse_csr_tensor": "a sparse tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_qtensor": "a quantized tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without data",
    "torch._utils._rebuild_wrapper_subclass": "a tensor of a class of its own",
}


def _allow_in(modules: Iterable[str], name: str, stand_in: Any) -> Mapping[str, Any]:
    return {f"{module}.{name}": stand_in for module in modules}


def _refuse_as(kind: str) -> Function:
    return Function(lambda *_: OtherTensor(kind))


STAND_INS: dict[str, Any] = {
    **{f"torch.{name}Storage": StorageType(dtype) for name, dtype in _STORAGES.items()},
    **{str(dtype): dtype for dtype in _STORAGES.values()},
    **{f"torch.{name}": getattr(torch, name) for name in ("uint16", "uint32", "uint64")},
    "torch.storage.UntypedStorage": StorageType(None),
    "torch.UntypedStorage": StorageType(None),
    "torch._utils._rebuild_tensor": Function(_describe_tensor),
    "torch._utils._rebuild_tensor_v2": Function(_describe_tensor),
    "torch._utils._rebuild_tensor_v3": Function(_describe_tensor_with_dtype),
    "torch._utils._rebuild_parameter": Function(_unwrap_parameter),
    "torch._utils._rebuild_parameter_with_state": Function(_unwrap_parameter),
    "torch._tensor._rebuild_from_type_v2": Function(_describe_tensor_with_attributes),
    **{name: _refuse_as(kind) for name, kind in _OTHER_TENSORS.items()},
    "torch.Size": Function(_keep),
    "_codecs.encode": Function(_encode),
    "numpy.dtype": DTypeSpec,
    **_allow_in(("numpy.core.multiarray", "numpy._core.multiarray"), "_reconstruct", ArraySpec),
    **_allow_in(("__builtin__", "builtins"), "bytes", Function(_make_no_bytes)),
}
"""Name of a class or function -> its stand-in. A mapping has a stand-in of its own, and any other name `Opaque`."""

MAPPINGS = frozenset(
    {"collections.OrderedDict", "collections.Counter", "collections.defaultdict", "__builtin__.dict", "builtins.dict"}
)
"""Names of the mappings that may contain weights."""
