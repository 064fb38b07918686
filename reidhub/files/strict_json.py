"""Write dataclasses as JSON, and read them strictly: a missing field, an unknown field or a wrong type is an error."""

import json
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, TypeVar, Union, cast, get_args, get_origin

from reidhub.files.regular_file import open_regular_file

T = TypeVar("T")
_Reader = Callable[[Any], Any]
_LONGEST = 1 << 24  # bytes; the files that reidhub writes have less than 1 MB


def to_json(value: Any) -> bytes:
    """Return a dataclass, or a list of dataclasses, as one line of JSON in ASCII."""
    return json.dumps(value, default=_fields_of).encode()


def read_json(kind: type[T], path: Path) -> T | None:
    """Read a JSON file that reidhub wrote earlier.

    The file may have been damaged or replaced since. If `from_json` refuses its content, it counts as missing.

    Args:
        kind: see `from_json`.
        path: the file.

    Returns:
        A value of type ``kind``. None if the file is missing, cannot be read, is longer than 16 MiB, or has other
        content.
    """
    try:
        with open_regular_file(path) as file:
            text = file.read(_LONGEST + 1)
        return from_json(kind, text) if len(text) <= _LONGEST else None
    except (OSError, ValueError):
        return None


def from_json(kind: type[T], text: bytes) -> T:
    """Read JSON that `to_json` wrote, and return a value of type ``kind``.

    Args:
        kind: ``str``, ``int``, ``float``, ``bool``, a literal of strings, ``X | None``, ``tuple[X, ...]``, a tuple of
            fixed length such as ``tuple[X, X]``, ``dict[str, X]``, ``Any``, or a dataclass with fields of these types.
        text: a JSON document.

    Raises:
        ValueError: the text is not JSON, or its value does not have the type ``kind``.
    """
    try:
        return read_value(kind, json.loads(text))
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def read_value(kind: type[T], data: Any) -> T:
    """Convert parsed JSON to a value of type ``kind``; see `from_json`.

    Raises:
        ValueError: the data does not have the type ``kind``.
    """
    value: T = _reader_of(cast(Hashable, kind))(data)
    return value


def _fields_of(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


@cache
def _reader_of(kind: Any) -> _Reader:
    """Return a function that converts parsed JSON to a value of the type ``kind``, or raises ValueError."""
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _dataclass_reader(kind)
    if origin is tuple:
        return _tuple_reader(_reader_of(parts[0]), None if parts[-1] is ... else len(parts))
    if origin is dict:
        return _dict_reader(_reader_of(parts[1]))
    if origin in (Union, UnionType) and parts[1:] == (NoneType,):
        read = _reader_of(parts[0])
        return lambda data: None if data is None else read(data)
    if origin is Literal:
        return lambda data: data if data in parts else _refuse(data, " or ".join(map(repr, parts)))
    if kind is Any:
        return lambda data: data
    if kind in (str, int, float, bool):
        expected = f"a value of type {kind.__name__}"
        return lambda data: data if type(data) is kind else _refuse(data, expected)  # not isinstance: True is an int
    raise TypeError(f"{kind} cannot be read from JSON")


def _dataclass_reader(kind: Any) -> _Reader:
    readers = [(field.name, _reader_of(cast(Hashable, field.type))) for field in fields(kind)]
    names = {name for name, _ in readers}

    def read(data: Any) -> Any:
        if type(data) is not dict:
            _refuse(data, "a mapping")
        if data.keys() != names:
            wrong = [f"missing {name!r}" for name in sorted(names - data.keys())]
            raise ValueError(", ".join(wrong + [f"unknown {name[:50]!r}" for name in sorted(data.keys() - names)][:5]))
        values = []
        for name, read_field in readers:
            try:
                values.append(read_field(data[name]))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return kind(*values)

    return read


def _tuple_reader(read_item: _Reader, length: int | None) -> _Reader:
    def read(data: Any) -> tuple[Any, ...]:
        if type(data) is not list or length not in (None, len(data)):
            _refuse(data, f"a list of {length} values" if length else "a list")
        return tuple([read_item(item) for item in data])

    return read


def _dict_reader(read_item: _Reader) -> _Reader:
    def read(data: Any) -> dict[str, Any]:
        if type(data) is not dict:
            _refuse(data, "a mapping")
        return {key: read_item(item) for key, item in data.items()}

    return read


def _refuse(data: Any, expected: str) -> NoReturn:
    got = repr(data[:50]) if isinstance(data, str) else f"a value of type {type(data).__name__}"
    raise ValueError(f"expected {expected}, got {got}")
