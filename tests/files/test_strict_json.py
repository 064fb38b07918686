"""Value types through JSON and back, and what is refused on the way back."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest
from support.damaged_json import DAMAGES, replace_content

from reidhub.files.strict_json import from_json, read_json, to_json


@dataclass(frozen=True, slots=True)
class Inner:
    number: int


@dataclass(frozen=True, slots=True)
class Outer:
    text: str
    number: float
    flag: bool
    choice: Literal["a", "b"]
    maybe: Inner | None
    items: tuple[Inner, ...]
    triple: tuple[float, float, float]
    table: dict[str, str]


VALUE = Outer("ä\ud800", 0.1, True, "b", Inner(1), (Inner(2), Inner(3)), (0.485, 0.456, 0.406), {"rank1": "87.0"})


def test_value_comes_back_as_it_was():
    assert from_json(Outer, to_json(VALUE)) == VALUE
    assert from_json(tuple[Inner, ...], to_json([Inner(1), Inner(2)])) == (Inner(1), Inner(2))


CHANGES = {
    "a missing field": ('"flag": true, ', ""),
    "an unknown field": ('"flag"', '"more": 1, "flag"'),
    "a text for a number": ('"number": 0.1', '"number": "0.1"'),
    "an integer for a number": ('"number": 0.1', '"number": 1'),
    "a boolean for an integer": ('{"number": 1}', '{"number": true}'),
    "a number for a boolean": ("true", "1"),
    "a word that is no choice": ('"b"', '"c"'),
    "a list for a choice": ('"b"', '["b"]'),
    "null for a value": ('"flag": true', '"flag": null'),
    "a text for an object": ('{"number": 1}', '"number"'),
    "an object for a list": ("[0.485, 0.456, 0.406]", "{}"),
    "a list that is too short": (", 0.406", ""),
    "a list for a table": ('{"rank1": "87.0"}', '["rank1"]'),
    "a number in a table": ('"87.0"', "87.0"),
    "an integer of too many digits": ('{"number": 1}', '{"number": 1' + "0" * 5000 + "}"),
    "nesting without an end": ('{"number": 1}', "[" * 100_000),
    "half of it": ('"table"', ""),
    "nothing": (to_json(VALUE).decode(), ""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_anything_else_is_refused_with_a_value_error(change):
    old, new = CHANGES[change]
    text = to_json(VALUE).decode()
    assert old in text

    with pytest.raises(ValueError):
        from_json(Outer, text.replace(old, new, 1).encode())


def test_type_that_json_cannot_express_is_an_error_of_the_programmer():
    with pytest.raises(TypeError, match="cannot be read from JSON"):
        from_json(complex, b"1")


def test_a_file_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(to_json(VALUE))
    assert read_json(Outer, path) == VALUE


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_with_any_other_content_counts_as_no_file(damage, tmp_path):
    path = tmp_path / "a.json"
    assert read_json(Outer, path) is None
    path.write_bytes(to_json(VALUE))
    replace_content(path, damage)
    assert read_json(Outer, path) is None


def test_a_file_that_is_too_long_is_not_parsed(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(to_json(VALUE) + b" " * (1 << 24))
    assert read_json(Outer, path) is None


def test_a_field_of_any_type_accepts_every_value():
    assert from_json(dict[str, Any], b'{"a": [1, null], "b": {"c": 2}}') == {"a": [1, None], "b": {"c": 2}}
