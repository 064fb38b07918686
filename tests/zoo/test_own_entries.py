"""Manifest entries of users: four fields are enough, and one error lists everything that is missing or unknown."""

import re
from pathlib import Path

import pytest
from support.paths import ROOT

from reidhub.errors import ManifestError
from reidhub.files.strict_yaml import Fields
from reidhub.zoo import manifest_fields
from reidhub.zoo.artifact import GRADES, Source, StateDictLayout
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import read_manifest, zoo

FOUR = """\
checkpoints:
  - name: osnet_x0_25.mine
    model: osnet_x0_25
    file: {original: mine.pth}
    source: {local: mine.pth}
"""


def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Checkpoint:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    monkeypatch.setenv("REIDHUB_MANIFEST", str(file))
    return zoo().find("osnet_x0_25.mine")[0]


def list_problems(tmp_path: Path, text: str) -> list[str]:
    """Return the lines of the error that a manifest causes, without the path of the file."""
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(ManifestError) as error:
        read_manifest([file])
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"{file}:") for line in lines)
    return [line.removeprefix(f"{file}") for line in lines]


def test_four_fields_are_enough_and_the_others_have_honest_defaults(tmp_path, monkeypatch):
    mine = read(tmp_path, monkeypatch, FOUR)
    assert mine.input == zoo().architecture("osnet_x0_25").input
    assert (mine.trained_on, mine.spec.num_classes, mine.distance) == ((), None, "euclidean")
    assert (mine.params_m, mine.gflops, mine.loss, mine.transforms) == (None, None, None, ())
    assert (mine.scores, mine.licence, mine.notices) == ((), "not stated", ())
    assert (mine.combineall, mine.from_scratch, mine.for_reid) == (False, False, True)
    assert (mine.layout, mine.artifact.digest) == (StateDictLayout(), None)


def test_a_single_source_is_the_same_as_a_list_with_one_source(tmp_path, monkeypatch):
    single = read(tmp_path, monkeypatch, FOUR).artifact.sources
    assert single == (Source("local", (tmp_path / "mine.pth").as_uri()),)
    listed = FOUR.replace("source: {local: mine.pth}", "sources: [{local: mine.pth}, {local: copy.pth}]")
    assert read(tmp_path, monkeypatch, listed).artifact.sources[:1] == single


def test_source_and_sources_in_one_entry_are_an_error(tmp_path):
    both = FOUR + "    sources: [{local: mine.pth}]\n"
    assert list_problems(tmp_path, both) == [":2: a checkpoint has either 'sources' or 'source', not both"]


def test_one_error_lists_all_missing_fields_with_what_each_is_for(tmp_path):
    assert list_problems(tmp_path, "checkpoints:\n  - distance: cosine\n") == [
        f":2: field {name!r} is missing: {purpose}" for name, purpose in manifest_fields.CHECKPOINT.required.items()
    ]
    assert list(manifest_fields.CHECKPOINT.required) == ["name", "model", "file", "sources"]


def test_one_error_lists_missing_and_unknown_fields_of_all_entries_and_of_what_is_in_them(tmp_path):
    text = """\
checkpoints:
  - name: osnet_x0_25.mine
    modell: osnet_x0_25
    file: {original: a.pth, layout: {prefix: module.}}
    source: {local: a.pth}
    scores:
      - {rank1: "1.0", colour: red}
  - name: osnet_x0_25.other
    model: osnet_x0_25
    file: {}
    input: {height: 3}
architectures:
  - {name: own, paper: none}
"""
    problems = list_problems(tmp_path, text)
    assert [line.partition(": ")[0] + " " + ", ".join(re.findall(r"'(\w+)'", line)) for line in problems] == [
        *(":2 model", ":3 modell, model", ":4 prefix, strip_prefix", ":7 dataset", ":7 source", ":7 colour"),
        *(":8 sources", ":11 width", ":11 mean", ":11 std", ":11 interpolation", ":13 input"),
    ]
    assert ":3: unknown field 'modell'; did you mean 'model': the architecture, such as osnet_x1_0?" in problems


def list_names(kind: Fields) -> set[str]:
    inner = [list_names(fields) for fields in kind.nested.values()]
    return {*kind.required, *kind.optional}.union(*inner)


def test_the_documentation_explains_every_grade_in_the_words_of_the_program():
    text = (ROOT / "docs" / "manifest.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    assert dict(rows) == GRADES


def test_the_documentation_shows_every_field_of_a_manifest():
    text = (ROOT / "docs" / "manifest.md").read_text(encoding="utf-8")
    assert {name for name in list_names(manifest_fields.MANIFEST) if not re.search(rf"\b{name}\b", text)} == set()
