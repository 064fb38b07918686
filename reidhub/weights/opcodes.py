"""A pickle is looked through, opcode by opcode, before it is carried out.

What a reader of Python could be made to do by the bytes alone is bounded here: time and memory by the number of
opcodes, the size of its memo by the numbers it is asked for, the depth of nesting by the number of tuples (hashing a
very deep one overflows the interpreter's stack).
"""

import pickletools
from dataclasses import dataclass
from typing import BinaryIO

from reidhub.errors import WeightsError

MOST_OPCODES = 2_000_000  # a checkpoint takes about 30 for each tensor; the largest of the zoo has 20,000 in all
MOST_TUPLES = 50_000  # CPython overflows between 100,000 and 200,000

_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_REFUSED = frozenset({"EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEWOBJ_EX", "NEXT_BUFFER", "READONLY_BUFFER", "PERSID"})


@dataclass(frozen=True, slots=True)
class Extent:
    """Where one pickle lies in a file.

    Args:
        size: bytes.
        opcodes: how many.
    """

    size: int
    opcodes: int


def look_through(stream: BinaryIO) -> Extent:
    """The extent of the pickle that starts at the position of a stream.

    Raises:
        WeightsError: it does not end, is too complex, or has opcodes that no checkpoint has.
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
                raise WeightsError("the pickle is more complex than that of any checkpoint")
            if opcode.name in _PUTS and isinstance(argument, int) and argument > MOST_OPCODES:
                raise WeightsError("the pickle numbers its parts higher than any checkpoint")
    except ValueError as error:
        raise WeightsError(f"the pickle is cut off or damaged ({error})") from error
    return Extent(stream.tell() - start, opcodes)
