"""An editor that checks a manifest with manifest/schema.json agrees with the strict reader."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
import yaml

from reidhub.errors import ManifestError
from reidhub.zoo.manifest import folder
from reidhub.zoo.manifest_reader import parse_files
from tools.write_manifest_schema import SCHEMA, write_schema

Place = tuple[dict[str, Any] | list[Any], str | int]


def match(validator: object, pattern: str, text: object, schema: object) -> Iterator[jsonschema.ValidationError]:
    """Match as JavaScript does: the sign $ means the end of the text, and \\w means letters of ASCII."""
    if isinstance(text, str) and not re.search(pattern.replace("$", r"\Z"), text, re.ASCII):
        yield jsonschema.ValidationError(f"{text!r} does not match {pattern!r}")


SCHEMA_OF_TODAY = json.loads(write_schema())
EDITOR = jsonschema.validators.extend(jsonschema.Draft7Validator, {"pattern": match})
FILES = sorted(folder().glob("*.yaml"))


def schema_accepts(text: str) -> bool:
    return EDITOR(SCHEMA_OF_TODAY).is_valid(yaml.load(text, yaml.CSafeLoader))


def find_error(text: str) -> str | None:
    """Return what the strict reader says against the text of a manifest; None if it accepts the manifest."""
    try:
        parse_files([(Path("/zoo/own.yaml"), text.encode())])
    except ManifestError as error:
        return error.message
    return None


def test_the_committed_schema_is_the_one_that_the_fields_give_today():
    assert SCHEMA.read_text(encoding="utf-8") == write_schema(), "run: python -m tools.write_manifest_schema"
    jsonschema.Draft7Validator.check_schema(SCHEMA_OF_TODAY)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_manifest_of_the_zoo_names_its_schema_and_is_valid(file):
    text = file.read_text(encoding="utf-8")
    first = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", text.splitlines()[0])
    assert first and (file.parent / first[1]).samefile(SCHEMA)
    assert schema_accepts(text)


def test_every_field_has_a_description():
    described = [schema for schema in list_mappings() if "properties" in schema and "maxProperties" not in schema]
    assert len(described) == 12, "INPUT and LAYOUT occur twice"
    assert all(field["description"] for schema in described for field in schema["properties"].values())


def walk(value: Any) -> Iterator[Any]:
    """Yield a value and every value inside it."""
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


def list_mappings() -> list[dict[str, Any]]:
    """List the schema and every schema inside it."""
    return [value for value in walk(SCHEMA_OF_TODAY) if isinstance(value, dict)]


ODD = [
    *(None, True, 0, -1, 1, 7.5, 10**18 - 1, 10**18, "", "x", "osnet.x", "7", "7.", "100.0", "100.1", "0100", "1e1"),
    *("../a", "a b", "é.pth", "ab" * 4, "AB" * 4, "ab" * 20, "ab" * 32, "ab" * 32 + "\n", "proven", "bilinear"),
    *([], [[]], {}, [1, 2], [1, 2, 3], [0], ["a"], ["a", "a"], {"a": "a"}, {"a": [1]}, {"a": [None]}),
    *({"local": "a"}, {"local": "ftp://a"}, {"local": "file:///a"}, {"https": "http://a/b"}, {"https": "https://a/b"}),
    *(
        {"https": "https://u@a/b"},
        {"local": "a", "https": "https://a/b"},
        {"mega": "https://mega.nz/#!a!b"},
        {"ftp": "a"},
    ),
]
ZOO = [yaml.load(file.read_bytes(), yaml.CSafeLoader) for file in FILES]
SCALARS = [value for value in walk([ODD, ZOO]) if not isinstance(value, dict | list)]


@cache
def list_scalars(schema: str) -> list[Any]:
    """List what the zoo's manifests and the odd values have for a type that is neither a mapping nor a list."""
    found = list(filter(EDITOR(json.loads(schema)).is_valid, SCALARS))
    return list({repr(value): value for value in found}.values())


def draw_value(random: Random, schema: dict[str, Any]) -> Any:
    """Draw a value that the schema accepts."""
    alternatives = schema.get("anyOf", ())
    if alternatives and "type" not in schema:
        return draw_value(random, random.choice(alternatives))
    draw = {"array": draw_list, "object": draw_mapping}.get(str(schema.get("type")))
    return draw(random, schema) if draw else random.choice(list_scalars(json.dumps(schema)))


def draw_list(random: Random, schema: dict[str, Any]) -> list[Any]:
    least = schema.get("minItems", 0)
    most = schema.get("maxItems", least + 2)
    values = [draw_value(random, schema["items"]) for _ in range(random.randint(least, most))]
    return list({repr(value): value for value in values}.values()) if "uniqueItems" in schema else values


def draw_mapping(random: Random, schema: dict[str, Any]) -> dict[str, Any]:
    fields = schema.get("properties")
    if fields is None:
        return {name: draw_value(random, schema["additionalProperties"]) for name in random.sample("abc", k=2)}
    while True:
        share = random.random()
        chosen = [name for name in fields if name in schema.get("required", ()) or random.random() < share]
        if follows_rules(schema, dict.fromkeys(chosen)):
            return {name: draw_value(random, fields[name]) for name in chosen}


def follows_rules(schema: dict[str, Any], mapping: dict[str, None]) -> bool:
    """Return True if these fields fit together, whatever their values."""
    rules = {name: rule for name, rule in schema.items() if name not in ("properties", "additionalProperties", "type")}
    return EDITOR(rules).is_valid(mapping)


def draw_manifest(random: Random) -> dict[str, Any]:
    """Draw a manifest with an entry of each kind. Its names fit together, which no schema can demand."""
    lists = SCHEMA_OF_TODAY["properties"]
    manifest = {name: [draw_value(random, lists[name]["items"])] for name in lists}
    (checkpoint,), (architecture,), (layout,) = (manifest[n] for n in ("checkpoints", "architectures", "layouts"))
    checkpoint["model"] = architecture["name"] = checkpoint["name"].partition(".")[0]
    if isinstance(checkpoint["file"].get("layout"), str):
        checkpoint["file"]["layout"] = layout["name"]
        layout["architectures"], layout["differs"] = [checkpoint["model"]], {}
    if "scores" in checkpoint:
        checkpoint["scores"] = list({score["dataset"]: score for score in checkpoint["scores"]}.values())
    return manifest


def list_places(value: Any) -> list[Place]:
    """List each place of a value inside the manifest, as the mapping or list and the key or number."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else range(len(value))
    return [place for key in keys for place in ((value, key), *list_places(value[key]))]


def damage(random: Random, manifest: dict[str, Any]) -> None:
    """Remove, add, replace, or repeat one value somewhere in the manifest."""
    holder, key = random.choice(list_places(manifest))
    match random.choice(["remove", "add", "replace", "replace", "repeat"]):
        case "remove":
            del holder[key]
        case "add" if isinstance(holder, dict):
            holder[random.choice(NAMES)] = random.choice(ODD)
        case "repeat" if isinstance(holder, list):
            holder.append(holder[key])
        case _:
            holder[key] = random.choice(ODD)


NAMES = sorted({"other", *(name for schema in list_mappings() for name in schema.get("properties", ()))})
NAMES_OF_OTHERS = (
    r"must be '.*', a dot|no manifest file describes|no layout is called|files of the layout .* are no .*"
    r"|two score sets of one dataset"
)


def test_the_reader_accepts_what_the_schema_generates():
    for seed in range(100):
        text = dump(draw_manifest(Random(seed)))
        assert schema_accepts(text), text
        assert find_error(text) is None, text


def test_schema_and_reader_agree_about_damaged_manifests():
    verdicts = []
    for seed in range(500):
        random = Random(seed)
        manifest = draw_manifest(random)
        damage(random, manifest)
        text = dump(manifest)
        error = find_error(text)
        verdicts.append(schema_accepts(text))
        if not verdicts[-1]:
            assert error, text
        elif error:
            assert re.search(NAMES_OF_OTHERS, error), f"{error}\n{text}"
    assert 50 < sum(verdicts) < 450, "damage that always or never matters would prove little"


def dump(manifest: dict[str, Any]) -> str:
    return yaml.dump(manifest, Dumper=yaml.CSafeDumper, allow_unicode=True)


ENTRY = """\
checkpoints:
  - name: a.b
    model: a
    file: {}
    source: {local: a.pth}
    input: {height: 2, width: 1, mean: [0, 0, 0], std: [1, 1, 1], interpolation: bilinear}
    num_classes: 7
    combineall: true
    scores: [{dataset: one, rank1: "1", source: "here"}]
"""
GAPS = {
    "a name that does not begin with the name of the model": ("a.b", "c.b", "must be 'a', a dot"),
    "an input that is nowhere": ("    input:", "    #", "no manifest file describes the architecture 'a'"),
    "a layout that is nowhere": ("file: {}", "file: {layout: none}", "no layout is called 'none'"),
    "two scores of a dataset": ("scores: [", 'scores: [{dataset: one, mAP: "1", source: ""}, ', "two score sets"),
    "a source in two spellings": ("source: {local: a.pth}", "sources: [local: a.pth, local: ./a.pth]", "given twice"),
    "a link that is no URL": ("local: a.pth", '"https": "https://[a/b"', "is not a link of kind https"),
    "punctuation beyond ASCII in a file name": ("file: {}", "file: {original: “a}", "not a plain file name"),
    "a field twice": ("model: a\n", "model: a\n    model: a\n", "'model' of a checkpoint is written twice"),
    "a merge key": ("file: {}", "file: {<<: {}}", "expected a text"),
    "a number of another form": ("classes: 7", "classes: 0x7", "expected a whole number above 0"),
    "a whole number with decimals": ("classes: 7", "classes: 7.0", "expected a whole number"),
    "another word for true": ("combineall: true", "combineall: True", "expected true or false"),
    "an infinite number": ("mean: [0,", "mean: [.inf,", "expected a number"),
    "a name that must be in quotes": ("file: {}", "file: {layout: {rename: {1: a}}}", "expected a text"),
}


@pytest.mark.parametrize(("old", "new", "message"), GAPS.values(), ids=GAPS)
def test_only_the_reader_refuses(old, new, message):
    assert schema_accepts(ENTRY) and find_error(ENTRY) is None
    text = ENTRY.replace(old, new, 1)
    assert schema_accepts(text)
    assert message in (find_error(text) or "")
