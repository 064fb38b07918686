"""Read YAML strictly: no type is guessed, and every error names the file and, if known, the line.

A scalar keeps its text (``87.0`` stays ``87.0``) until the caller asks for a type.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

import yaml

from reidhub.errors import InstallationError, ManifestError

T = TypeVar("T")
_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = "tag:yaml.org,2002:null"
_STR = "tag:yaml.org,2002:str"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_BOOL = "tag:yaml.org,2002:bool"


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields that one kind of mapping can have.

    Args:
        what: the kind of mapping for messages, such as ``a score``.
        required: name of each field that must not be missing -> what the field is for.
        optional: name of each other field -> what it is for.
        either: required field -> optional field that can stand in its place; a mapping has one of the two.
        nested: name of a field -> the fields of the mapping that is its value, or of each mapping in its list.
    """

    what: str
    required: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    either: Mapping[str, str] = field(default_factory=dict)
    nested: "Mapping[str, Fields]" = field(default_factory=dict)

    def describe_unknown(self, name: str) -> str:
        """Describe a field that this kind of mapping does not have, and name the most similar field, or all fields."""
        known = {**self.required, **self.optional}
        near = difflib.get_close_matches(name, known, n=1)
        what = f"did you mean {near[0]!r}: {known[near[0]]}?" if near else f"{self.what} has {', '.join(known)}"
        return f"unknown field {name!r}; {what}"


class Value:
    """One node of a YAML file; its methods read the node as a given type, or raise `ManifestError`."""

    __slots__ = ("_node", "file")

    def __init__(self, node: yaml.Node, file: Path) -> None:
        self._node = node
        self.file = file

    @property
    def where(self) -> str:
        """``file:line`` of this node; the first line is 1."""
        return f"{self.file}:{self._node.start_mark.line + 1}"

    def fail(self, message: str) -> NoReturn:
        """Raise a `ManifestError` whose message starts with the file and the line of this node."""
        raise ManifestError(f"{self.where}: {message}")

    def fields(self, kind: Fields) -> "dict[str, Value]":
        """Read the fields of a mapping.

        Raises:
            ManifestError: this node is not a mapping, or fields are unknown, missing or repeated. The message has one
                line for each such field, those of nested mappings included.
        """
        if problems := list(self._find_problems(kind)):
            raise ManifestError("\n".join(problems))
        return {key.text(): value for key, value in self._pairs(kind.what)}

    def _find_problems(self, kind: Fields) -> Iterator[str]:
        """Yield a line with file and line for each missing, unknown and repeated field, also of nested mappings."""
        pairs = [(key.text(), key, value) for key, value in self._pairs(kind.what)]
        names = [name for name, _, _ in pairs]
        for name, purpose in kind.required.items():
            stand_in = kind.either.get(name)
            if name not in names and stand_in not in names:
                yield f"{self.where}: field {name!r} is missing: {purpose}"
            if name in names and stand_in in names:
                yield f"{self.where}: {kind.what} has either {name!r} or {stand_in!r}, not both"
        for place, (name, key, value) in enumerate(pairs):
            if name not in kind.required and name not in kind.optional:
                yield f"{key.where}: {kind.describe_unknown(name)}"
            elif name in names[:place]:
                yield f"{key.where}: field {name!r} of {kind.what} is written twice"
            elif name in kind.nested:
                for mapping in value._list_mappings():
                    yield from mapping._find_problems(kind.nested[name])

    def _list_mappings(self) -> "Iterator[Value]":
        """Yield this node, or the items of this list, if they are mappings."""
        nodes = self._node.value if isinstance(self._node, yaml.SequenceNode) else [self._node]
        return (Value(node, self.file) for node in nodes if isinstance(node, yaml.MappingNode))

    def _pairs(self, what: str) -> "Iterator[tuple[Value, Value]]":
        if not isinstance(self._node, yaml.MappingNode):
            self.fail(f"{what} is a mapping of fields, not {self._describe()}")
        for key, value in self._node.value:
            yield Value(key, self.file), Value(value, self.file)

    def items(self, read: "Callable[[Value], T]", what: str) -> tuple[T, ...]:
        """Read each item of a list with ``read``; ``what`` describes the list in messages."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.fail(f"{what} is a list, not {self._describe()}")
        return tuple(read(Value(node, self.file)) for node in self._node.value)

    def mapping(self, read: "Callable[[Value], T]", what: str) -> dict[str, T]:
        """Read each value of a mapping with ``read``; the keys are texts, and no key occurs twice.

        ``what`` describes the mapping in messages.
        """
        found: dict[str, T] = {}
        for key, value in self._pairs(what):
            if key.text() in found:
                key.fail(f"{what} has {key.text()!r} twice")
            found[key.text()] = read(value)
        return found

    def only_pair(self, what: str) -> "tuple[Value, Value]":
        """Return key and value of a mapping with exactly one field; ``what`` describes the mapping in messages."""
        pairs = list(self._pairs(what))
        if len(pairs) != 1:
            self.fail(f"{what} has one field, not {len(pairs)}")
        return pairs[0]

    def is_null(self) -> bool:
        """Return True if the value is ``null`` or empty."""
        return bool(self._node.tag == _NULL)

    def is_text(self) -> bool:
        """Return True if the value is a text."""
        return isinstance(self._node, yaml.ScalarNode) and self._node.tag == _STR

    def is_list(self) -> bool:
        """Return True if the value is a list."""
        return isinstance(self._node, yaml.SequenceNode)

    def optional(self, read: "Callable[[Value], T]") -> T | None:
        """Read the value with ``read``; return None for ``null`` and for an empty value."""
        return None if self.is_null() else read(self)

    def text(self) -> str:
        """Read a string. A string that looks like a number, a boolean or null must be in quotes."""
        return self._scalar(_STR, "a text (in quotes if it looks like a number)")

    def integer(self) -> int:
        """Read a decimal integer above 0, of at most 18 digits."""
        text = self._scalar(_INT, "a whole number")
        if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
            self.fail(f"expected a whole number above 0, got {text[:40]!r}")
        return int(text)

    def number(self) -> float:
        """Read a decimal number."""
        tag = _INT if self._node.tag == _INT else _FLOAT
        try:
            return float(self._scalar(tag, "a number"))
        except ValueError:
            self.fail(f"expected a number, got {self._describe()}")

    def boolean(self) -> bool:
        """Read ``true`` or ``false``."""
        text = self._scalar(_BOOL, "true or false")
        if text not in ("true", "false"):
            self.fail(f"expected true or false, got {text!r}")
        return text == "true"

    def choice(self, choices: tuple[str, ...]) -> str:
        """Read one of the ``choices``."""
        text = self.text()
        if text not in choices:
            self.fail(f"expected one of {', '.join(choices)}, got {text!r}")
        return text

    def _scalar(self, tag: str, expected: str) -> str:
        if not isinstance(self._node, yaml.ScalarNode) or self._node.tag != tag:
            self.fail(f"expected {expected}, got {self._describe()}")
        return str(self._node.value)

    def _describe(self) -> str:
        if isinstance(self._node, yaml.MappingNode):
            return "a mapping"
        if isinstance(self._node, yaml.SequenceNode):
            return "a list"
        return "nothing" if self.is_null() else repr(self._node.value)


def read_optional(fields: Mapping[str, Value], name: str, read: Callable[[Value], T]) -> T | None:
    """Read the field ``name`` with ``read``; return None if the field is missing."""
    return read(fields[name]) if name in fields else None


def read_package_list(file: Path, read: Callable[[Value], T]) -> tuple[T, ...]:
    """Read a YAML file that belongs to the package and contains a list.

    Args:
        file: path of the file.
        read: function that converts an item of the list.

    Raises:
        InstallationError: the file is missing or broken.
    """
    try:
        return parse_yaml(file, file.read_bytes()).items(read, file.name)
    except OSError as error:
        raise InstallationError(f"{file}: cannot be read: {error}") from error
    except ManifestError as error:
        raise InstallationError(error.message) from error


def parse_yaml(file: Path, content: bytes) -> Value:
    """Parse a YAML file with one document.

    Args:
        file: path of the file, for messages.
        content: bytes of the file, UTF-8.

    Returns:
        The root node.

    Raises:
        ManifestError: the file is not UTF-8, is not YAML, or is empty.
    """
    try:
        node = yaml.compose(content.decode(), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise ManifestError(f"{file}: cannot be read: {error}") from error
    except RecursionError as error:
        raise ManifestError(f"{file}: nested too deeply") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ManifestError(f"{file}{line}: not YAML: {getattr(error, 'problem', error)}") from error
    if node is None:
        raise ManifestError(f"{file}:1: the file is empty")
    return Value(node, file)
