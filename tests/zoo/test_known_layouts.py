"""Layouts with a name in manifest files, and how a file's layout is found by the names of its tensors."""

from dataclasses import replace
from pathlib import Path

import pytest

from reidhub.errors import ManifestError
from reidhub.zoo.artifact import StateDictLayout
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.known_layouts import KnownLayout, find_layout
from reidhub.zoo.manifest import _zoo, add_manifests, zoo

LAYOUTS = """\
layouts:
  - name: renamed
    about: the files of one program
    signs: [mean, "*.neck.weight"]
    architectures: [osnet_x0_25]
    rename: {heads.: head.}
    constants: {mean: [1, 2.5]}
    differs: {"osnet_*": it has another network}
checkpoints:
  - name: osnet_x0_25.mine
    model: osnet_x0_25
    file: {original: model.pth, layout: renamed}
    source: {local: model.pth}
"""


def test_an_entry_can_name_a_layout_that_several_files_have(tmp_path):
    mine, known = read(tmp_path, LAYOUTS)

    assert mine.layout == known.layout == StateDictLayout(rename={"heads.": "head."}, constants={"mean": (1.0, 2.5)})
    assert list(known.list_differences("osnet_x0_25")) == ["it has another network"]
    assert list(known.list_differences("resnet50")) == []


def read(tmp_path: Path, text: str) -> tuple[Checkpoint, KnownLayout]:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with add_manifests([file]):
        for _ in range(2):  # from the file, then from the parsed copy
            manifest = zoo()
            _zoo.cache_clear()
        return manifest.by_name["osnet_x0_25.mine"], next(one for one in manifest.layouts if one.name == "renamed")


@pytest.mark.parametrize(
    "old, new, message",
    [
        (
            "architectures: [osnet_x0_25]",
            "architectures: [mlfn]",
            ":12: files of the layout 'renamed' are no osnet_x0_25: it has another network",
        ),
        ("layout: renamed", "layout: july", ":12: no layout is called 'july'; known are .*renamed"),
        ("{heads.: head.}", "{heads.: head., heads.: neck.}", ":6: rename has 'heads.' twice"),
        ("{mean: [1, 2.5]}", "{mean: 1}", ":7: a list of numbers is a list, not '1'"),
        ("    about: the files of one program\n", "", ":2: field 'about' is missing"),
    ],
)
def test_a_malformed_layout_is_an_error_with_file_and_line(tmp_path, old, new, message):
    assert old in LAYOUTS
    with pytest.raises(ManifestError, match=message):
        read(tmp_path, LAYOUTS.replace(old, new))


def test_the_first_layout_with_all_of_its_signs_in_the_file_is_found(tmp_path):
    _, known = read(tmp_path, LAYOUTS)
    other = replace(known, name="other", signs=("mean",))

    assert find_layout(["mean", "heads.neck.weight"], [known, other]) is known
    assert find_layout(["mean", "heads.weight"], [known, other]) is other
    assert find_layout(["heads.neck.weight"], [known, other]) is None
