"""The states of sources that the site shows come from ``reidhub links --json``."""

import json
from pathlib import Path

import pytest
from support.explorer_inputs import write_links
from support.verify_runs import run_here

from reidhub.errors import UsageError
from reidhub.site.links import read_links
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import zoo

NAME = "osnet_x1_0.market1501"


@pytest.fixture
def checkpoint() -> Checkpoint:
    return zoo().by_name[NAME]


def test_the_output_of_the_command_can_be_read(tmp_path: Path, monkeypatch, capsys, checkpoint: Checkpoint) -> None:
    monkeypatch.setenv("REIDHUB_OFFLINE", "1")
    done = run_here(monkeypatch, capsys, "links", NAME, "--json")
    (tmp_path / "links.json").write_text(done.stdout)
    states = read_links(tmp_path / "links.json", zoo().checkpoints)
    assert tuple(states) == checkpoint.artifact.sources
    assert {(state.alive, state.reason, state.checked) for state in states.values()} == {
        (False, "not asked: offline", None)
    }


def test_only_sources_of_the_zoo_are_kept(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = write_links(tmp_path / "links.json", [checkpoint])
    content = json.loads(path.read_text())
    content[0]["sources"].append({**content[0]["sources"][0], "location": "https://example.org/other"})
    path.write_text(json.dumps(content))
    states = read_links(path, [checkpoint])
    assert set(states) == set(checkpoint.artifact.sources)
    assert {state.checked for state in states.values()} == {"2026-11-27T18:00:00Z"}


def test_a_list_without_any_known_source_is_an_error(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = write_links(tmp_path / "links.json", [checkpoint], location="https://example.org/other")
    with pytest.raises(UsageError, match="has no source of a checkpoint of the zoo"):
        read_links(path, [checkpoint])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"checked": "yesterday"}, "does not match format"),
        ({"checked": "2026-1-2T3:4:5Z"}, "not written like 2026-11-27T18:00:00Z"),
        ({"checked": ""}, "does not match format"),
        ({"checked": 5}, "expected a value of type str"),
        ({"alive": "yes"}, "expected a value of type bool"),
        ({"more": 1}, "unknown 'more'"),
        ({"reason": "x" * 3000}, "a reason has more than 2000 characters"),
    ],
)
def test_odd_values_are_refused(tmp_path: Path, checkpoint: Checkpoint, fields: dict, words: str) -> None:
    path = write_links(tmp_path / "links.json", [checkpoint], **fields)
    with pytest.raises(UsageError, match=r"is not a list of links: .*\nhint: `reidhub links --json > FILE`") as error:
        read_links(path, [checkpoint])
    assert words in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the list of links .*none\.json: No such file"):
        read_links(tmp_path / "none.json", [])
