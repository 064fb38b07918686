"""Reads a pickle into plain values: mappings, lists, texts, numbers, and descriptions of tensors.

All opcodes are checked before anything is unpickled. A file with too many opcodes is refused, because it would take too
much time and memory. A file with too many tuples is refused, because hashing a deeply nested tuple overflows the
interpreter's stack. A file is also refused if it uses a very high index of the unpickler's memo, because the memo
would get large.

Each class or function that the pickle names is replaced by a stand-in from `reidhub.weights.stand_ins`. Objects of
unknown classes are read, but nothing of them is kept.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from reidhub.errors import WeightsError
from reidhub.files.sniff import make_printable
from reidhub.weights.stand_ins import MAPPINGS, STAND_INS, Function, Opaque, StandInMapping

MOST_OPCODES = 2_000_000  # a checkpoint takes about 30 for each tensor; the largest of the zoo has 20,000 in all
MOST_TUPLES = 50_000  # CPython's stack overflows between 100,000 and 200,000 nested tuples
MOST_CLASSES = 1_000  # of unknown names; each takes a stand-in of its own, of about 1 KB

_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_REFUSED = frozenset({"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER", "PERSID"})

# No function of these modules is ever called. Their names only show that a file was made to attack its readers.
_ATTACKS = frozenset({"os", "posix", "nt", "subprocess", "pty", "runpy", "importlib"})
_ATTACKING_BUILTINS = frozenset({"eval", "exec", "execfile", "compile", "open", "__import__"})


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
class Pickled:
    """The value of one pickle, and the position in the file at which the pickle ends."""

    value: Any
    end: int


def read_pickle(file: BinaryIO, at: int, encoding: str, *, persistent: Callable[[Any], Any] | None = None) -> Pickled:
    """Read the pickle that starts at a position of a file.

    Args:
        file: the file.
        at: position of the pickle, in bytes.
        encoding: text encoding of byte strings that Python 2 pickled.
        persistent: converts a reference to a storage into a `Storage`; None if the pickle must have no such reference.

    Raises:
        WeightsError: the pickle is damaged or too complex, or names a function that starts programs or runs code.
    """
    file.seek(at)
    extent = scan_pickle(file)
    file.seek(at)
    value = _Unpickler(file.read(extent.size), encoding, extent, persistent).load()
    return Pickled(value, at + extent.size)


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, encoding: str, extent: Extent, persistent: Callable[[Any], Any] | None) -> None:
        super().__init__(io.BytesIO(data), fix_imports=False, encoding=encoding)
        self._persistent = persistent
        self._pairs_left = extent.opcodes  # a pickle without reused lists has at least one opcode for each pair
        self._opaque: dict[str, type[Opaque]] = {}

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in MAPPINGS:
            return Function(self._make_mapping)
        if full in STAND_INS:
            return STAND_INS[full]
        builtin = module in ("builtins", "__builtin__") and name.partition(".")[0] in _ATTACKING_BUILTINS
        if builtin or module.partition(".")[0] in _ATTACKS:
            raise WeightsError(
                f"it names the function {make_printable(full)!r}; only files that attack their readers do this",
                hint="do not open it with other programs: torch.load(..., weights_only=False) would run its code",
            )
        return self._find_opaque(full)

    def _find_opaque(self, full: str) -> type[Opaque]:
        """Return the stand-in for an unknown class or function."""
        if full not in self._opaque:
            if len(self._opaque) >= MOST_CLASSES:
                raise WeightsError("the pickle names more classes than any checkpoint")
            self._opaque[full] = type("Opaque", (Opaque,), {"__slots__": (), "kind": full})
        return self._opaque[full]

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


def _unpack_pair(pair: Any) -> tuple[Any, Any]:
    key, value = pair
    return key, value
