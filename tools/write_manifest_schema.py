"""Writes ``manifest/schema.json``, with which editors check manifests: ``python -m tools.write_manifest_schema``.

Names, descriptions and nesting of the fields come from `reidhub.zoo.manifest_fields`; this module adds their types. A
test compares the schema with the reader of manifests. Draft 7 is the newest draft that editors support fully.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from reidhub.files.strict_yaml import Fields
from reidhub.zoo import manifest_fields as fields
from reidhub.zoo.artifact import GRADES
from reidhub.zoo.checkpoint import METRICS, Interpolation

SCHEMA = Path(__file__).parents[1] / "manifest" / "schema.json"

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": 10**18 - 1}
_NUMBERS: Schema = {"type": "array", "items": {"type": "number"}}
_COLOUR: Schema = {**_NUMBERS, "minItems": 3, "maxItems": 3}
_TEXT_TO_TEXT: Schema = {"type": "object", "additionalProperties": _TEXT}


def _match(pattern: str) -> Schema:
    """Describe a text that matches a regular expression from its start to its end."""
    return {"type": "string", "pattern": f"^({pattern})$"}


def _match_digits(shortest: int, longest: int) -> Schema:
    return _match(f"[0-9a-f]{{{shortest},{longest}}}")


def _choose(choices: Sequence[str]) -> Schema:
    return {"enum": list(choices)}


def _list(items: Schema, **limits: object) -> Schema:
    return {"type": "array", "items": items, **limits}


def _require_one(names: Sequence[str]) -> list[Schema]:
    return [{"required": [name]} for name in names]


_LINK_TYPES = {kind: _match(pattern) for kind, pattern in fields.LINKS.items()}
_SOURCE: Schema = {
    "type": "object",
    "properties": {
        **_LINK_TYPES,
        "local": {"anyOf": [_LINK_TYPES["local"], {"type": "string", "not": {"pattern": "://"}}]},  # a URL or a path
    },
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
_SOME_TEXTS = _list(_TEXT, uniqueItems=True, minItems=1)
_ANY_TEXTS = _list(_TEXT, uniqueItems=True)
_FIGURE_OR_NULL: Schema = {**_match(fields.FIGURE), "type": ["string", "null"]}
_PERCENTAGE = _match(r"0*(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)")
_METRICS = dict.fromkeys(METRICS, _PERCENTAGE)
_LAYOUT_TYPES: dict[str, Schema] = {
    "encoding": _choose(("ascii", "latin1")),
    "skip": _SOME_TEXTS,
    "rename": _TEXT_TO_TEXT,
    "constants": {"type": "object", "additionalProperties": _NUMBERS},
}

_TYPES: dict[str, dict[str, Schema]] = {
    fields.INPUT.what: {
        **dict.fromkeys(("height", "width"), _COUNT),
        **dict.fromkeys(("mean", "std"), _COLOUR),
        "interpolation": _choose(get_args(Interpolation)),
    },
    fields.LAYOUT.what: _LAYOUT_TYPES,
    fields.FILE.what: {
        # Editors take \w for ASCII alone, so every other character counts as a letter here.
        "original": _match(r"([\w-]|[^\x00-\x7f])([\w.+-]|[^\x00-\x7f])*"),
        "sha256": _match_digits(64, 64),
        "size": _COUNT,
        "grade": _choose(tuple(GRADES)),
        "expected_size": {"anyOf": [_COUNT, _list(_COUNT, minItems=1)]},
    },
    fields.SCORE.what: _METRICS,
    fields.MEASUREMENT.what: _METRICS,
    fields.CHECKPOINT.what: {
        "name": _match(fields.CHECKPOINT_NAME),
        "sources": _list(_SOURCE, minItems=1, uniqueItems=True),
        "source": _SOURCE,
        "trained_on": _SOME_TEXTS,
        **dict.fromkeys(("combineall", "from_scratch"), _FLAG),
        "num_classes": {**_COUNT, "type": ["integer", "null"]},
        "distance": _choose(("euclidean", "cosine")),
        **dict.fromkeys(("params_m", "gflops"), _FIGURE_OR_NULL),
        "loss": {"type": ["string", "null"]},
        **dict.fromkeys(("transforms", "notices"), _ANY_TEXTS),
    },
    fields.COMPLEXITY.what: dict.fromkeys(fields.COMPLEXITY.required, _COUNT),
    fields.ARCHITECTURE.what: {"printed_params": _choose(("distinct", "calls"))},
    fields.KNOWN_LAYOUT.what: {
        **_LAYOUT_TYPES,
        **dict.fromkeys(("signs", "architectures"), _SOME_TEXTS),
        "differs": _TEXT_TO_TEXT,
    },
    fields.KNOWN_FILE.what: {
        "sha256": _match_digits(64, 64),
        "sha256_prefix": _match_digits(8, 64),
        "git_blob": _match_digits(8, 40),
        "likelihood": _choose(("probably", "perhaps")),
    },
    fields.MANIFEST.what: {},
}
"""Kind of mapping -> name of a field -> its type. A field that is missing here is a text or a nested mapping."""

_LISTS = {*fields.MANIFEST.nested, "scores", "measured_elsewhere"}  # fields with a list of nested mappings

_RULES: dict[str, Schema] = {
    fields.FILE.what: {
        "dependencies": {
            **{name: ["evidence"] for name in ("sha256", "size", "expected_size")},
            "grade": {"anyOf": _require_one(("sha256", "size"))},
        },
        "not": {"required": ["size", "expected_size"]},
    },
    fields.SCORE.what: {"anyOf": _require_one(METRICS)},
    fields.MEASUREMENT.what: {"anyOf": _require_one(METRICS)},
    fields.KNOWN_FILE.what: {"oneOf": _require_one(tuple(fields.KNOWN_FILE_DIGESTS))},
}
"""Kind of mapping -> which of its fields need or exclude each other, besides ``Fields.either``."""


def describe(kind: Fields) -> Schema:
    """Return the JSON Schema of one kind of mapping."""
    rules = {**_RULES.get(kind.what, {})}
    if kind.either:
        rules["allOf"] = [{"oneOf": _require_one(pair)} for pair in kind.either.items()]
    return {
        "type": "object",
        "required": [name for name in kind.required if name not in kind.either],
        "additionalProperties": False,
        **rules,
        "properties": {
            name: {"description": purpose, **_find_type(kind, name)}
            for name, purpose in {**kind.required, **kind.optional}.items()
        },
    }


def _find_type(kind: Fields, name: str) -> Schema:
    if name not in kind.nested:
        return _TYPES[kind.what].get(name, _TEXT)
    mapping = describe(kind.nested[name])
    if name in _LISTS:
        return _list(mapping)
    return {"anyOf": [_TEXT, mapping]} if name == "layout" else mapping  # a layout may be the name of one


def write_schema() -> str:
    """Return the JSON Schema of a manifest file as text."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Manifest of reidhub",
        **describe(fields.MANIFEST),
    }
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(write_schema(), encoding="utf-8")
