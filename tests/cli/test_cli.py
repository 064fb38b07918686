"""The commands that only read the manifest, as a user calls them: in processes of their own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.paths import ROOT

from reidhub.cli import COMMANDS, cli
from reidhub.zoo.manifest import zoo

FIELDS = {
    *("name", "model", "trained_on", "num_classes", "sources", "sha256", "size", "input", "distance"),
    *("params_m", "gflops", "loss", "transforms", "scores", "licence"),
}
BROKEN = "checkpoints:\n  - name: a.b\n    digset: x\n"


def reidhub(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reidhub", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def test_list_names_every_checkpoint_on_a_line_and_says_which_are_unpinned():
    done = reidhub("list")

    lines = done.stdout.splitlines()[1:]
    assert done.returncode == 0
    assert [line.split()[0] for line in lines] == [c.name for c in zoo().checkpoints]
    for line, checkpoint in zip(lines, zoo().checkpoints, strict=True):
        assert ("unpinned" in line) == (checkpoint.artifact.digest is None)
        figures = [score.values.get(metric, "") for score in checkpoint.scores for metric in ("rank1", "mAP", "top1")]
        assert all(figure in line for figure in figures)


def test_list_as_data_has_every_promised_field():
    listed = json.loads(reidhub("list", "--json").stdout)

    assert len(listed) == 112
    assert all(entry.keys() >= FIELDS for entry in listed)
    assert all(entry["input"].keys() >= {"height", "width"} for entry in listed)
    assert {source["kind"] for entry in listed for source in entry["sources"]} == {"mega", "gdrive", "https"}
    (x1_4,) = (entry for entry in listed if entry["name"] == "mobilenetv2_x1_4.market1501")
    (score,) = x1_4["scores"]
    assert [score[metric] for metric in ("rank1", "rank5", "rank10", "mAP", "top1", "top5")] == [
        *("87.0", None, None, "68.5", None, None)
    ]


def test_list_takes_globs_and_names_each_checkpoint_once():
    listed = json.loads(reidhub("list", "*.msmt17", "osnet_x1_0.msmt17", "--json").stdout)

    names = [entry["name"] for entry in listed]
    assert len(names) == len(set(names)) > 9
    assert all(name.endswith(".msmt17") for name in names)


def test_show_says_everything_and_that_a_file_is_unpinned():
    text = reidhub("show", "osnet_x1_0.dukemtmcreid").stdout

    (checkpoint,) = zoo().find("osnet_x1_0.dukemtmcreid")
    assert all(source.location in text for source in checkpoint.artifact.sources)
    assert "unpinned" in text and "MAC" in text
    assert "withdrawn" in text
    assert "rank1 87.0, mAP 70.2" in text


def test_show_explains_the_grade_and_calls_a_computed_size_computed():
    known, pinned = (CliRunner().invoke(cli, ["show", f"osnet_ibn_x1_0.{tag}"]) for tag in ("market1501", "imagenet"))
    data = json.loads(CliRunner().invoke(cli, ["show", "osnet_ibn_x1_0.*", "--json"]).stdout)

    for run, sizes in ((known, "10,403,324 or 10,429,201"), (pinned, "10,914,272 or 10,940,149")):
        assert re.search(rf"^  size +not known\n +computed, not published: {sizes} bytes$", run.stdout, re.MULTILINE)
    assert re.search(
        r"^  grade +single: one person published it, and another fact agrees$", pinned.stdout, re.MULTILINE
    )
    assert "  grade" not in known.stdout
    found = {one["name"].partition(".")[2]: (one["grade"], one["size"], one["expected_size"]) for one in data}
    assert found["imagenet"] == ("single", None, [10914272, 10940149])
    assert found["market1501"] == (None, None, [10403324, 10429201])
    assert found["ms_d_c"] == (None, None, [])


@pytest.mark.parametrize(
    ("selector", "parameters", "gflops"),
    [
        (
            "hacnn.msmt17",
            "reported 4.5 M, which counts a shared block once per call; "
            "computed 2,929,112, or 4,507,928 if a shared block counts once per call",
            "reported 0.5; computed 0.544 (543,994,538 multiply-adds)",
        ),
        ("resnet50", "reported 23.5 M; computed 23,508,032", "reported 2.7; computed 2.669"),
        ("shufflenet", "not reported; computed 904,728", "not reported; computed 0.089"),
    ],
)
def test_show_puts_reported_and_computed_costs_side_by_side(selector, parameters, gflops):
    text = reidhub("show", selector).stdout

    assert f"parameters  {parameters}\n" in text
    assert f"GFLOPs      {gflops}" in text


@pytest.mark.parametrize(
    ("model", "default", "said"),
    [
        ("osnet_ibn_x1_0", "osnet_ibn_x1_0.msmt17_combineall", ""),
        ("shufflenet", "shufflenet.imagenet", ": ImageNet weights, which cannot tell people apart"),
    ],
)
@pytest.mark.parametrize("command", ["show", "list", "download", "verify"])
def test_every_command_says_which_checkpoint_a_model_alone_means(command, model, default, said, tmp_path):
    more = {"download": ["--offline"], "verify": ["--data-root", str(tmp_path), "--dry-run"]}.get(command, [])

    done = reidhub(command, model, "osnet_x0_25.imagenet", *more) if command != "show" else reidhub(command, model)

    assert [line for line in done.stderr.splitlines() if " means " in line] == [f"note: {model} means {default}{said}"]
    assert default in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "size", "interpolation"),
    [("osnet_x1_0.market1501", "256x128", "bilinear"), ("fastreid_sbs_r50.market1501", "384x128", "bicubic")],
)
def test_show_says_with_which_filter_images_are_resized(name, size, interpolation):
    text, data = (CliRunner().invoke(cli, ["show", name, *form]).stdout for form in ((), ("--json",)))

    assert re.search(rf"^  input +{size} \(height x width\), {interpolation}$", text, re.MULTILINE)
    assert json.loads(data)[0]["interpolation"] == interpolation


def test_show_says_whether_a_checkpoint_is_the_default():
    assert "  default     yes: osnet_x1_0 alone means this checkpoint\n" in reidhub("show", "osnet_x1_0.msmt17").stdout
    assert "alone means" not in reidhub("show", "osnet_x1_0.imagenet").stdout


def test_show_as_data_carries_the_computed_costs():
    (shown,) = json.loads(reidhub("show", "mlfn.market1501", "--json").stdout)

    assert shown["computed"] == {"params": 32473024, "params_by_calls": 32473024, "multiply_adds": 2770888704}


def test_missing_data_root_is_told_before_anything_heavy_is_imported():
    code = """
import sys
from pathlib import Path
sys.argv = ["reidhub", "verify", "osnet_x1_0.market1501"]
from reidhub.cli import cli
from reidhub.errors import UsageError
try:
    cli(standalone_mode=False)
except UsageError as error:
    sys.exit("torch" in sys.modules or "--data-root" not in str(error))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("command", ["list", "show osnet_x1_0", "list --json", "--help"])
def test_listing_imports_nothing_heavy(command):
    heavy = {"torch", "numpy", "torchvision", "requests", "rich", "PIL", "logging"}
    first_start_only = {"yaml", "tempfile"}  # for parsing the manifest and keeping what was parsed

    assert not imported_by(command) & heavy
    assert not imported_by(command) & (heavy | first_start_only)


def imported_by(command: str) -> set[str]:
    """The modules that a command imports beyond those that Python starts with."""
    code = f"""
import sys
from pathlib import Path
sys.argv = ["reidhub", *{command.split()!r}]
before = set(sys.modules)
import reidhub.cli
try:
    reidhub.cli.cli(standalone_mode=False)
finally:
    print(*set(sys.modules) - before, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "osnet_x1_0.market"), "hint: did you mean osnet_x1_0.market1501"),
        (("list", "zzz.*"), "no checkpoint is called 'zzz.*'"),
        (("list", "market1501"), "hint: to find checkpoints by their training set, write '*.market1501'\n"),
        (("download", "osnet"), "did you mean osnet_x1_0"),
        (("lst",), "did you mean list?"),
        (("download",), "SELECTOR"),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(arguments, said):
    done = reidhub(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("way", ["option", "environment"])
def test_mistake_in_a_manifest_of_ones_own_is_told_with_file_and_line(tmp_path, way):
    mine = tmp_path / "mine.yaml"
    mine.write_text(BROKEN)
    done = (
        reidhub("list", REIDHUB_MANIFEST=str(mine))
        if way == "environment"
        else reidhub("--manifest", str(mine), "list")
    )

    assert done.returncode == 1
    assert f"{mine}:3: unknown field 'digset'; a checkpoint has name, model" in done.stderr


def test_manifest_of_ones_own_adds_to_the_zoo(tmp_path):
    text = (ROOT / "reidhub/demo/data/manifest.yaml").read_text()
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(text)
    second.write_text(text.replace("demo_world\n    model", "other_world\n    model"))

    done = reidhub("--manifest", str(first), "--manifest", str(second), "list", "--json")

    names = [entry["name"] for entry in json.loads(done.stdout)]
    assert names[-2:] == ["osnet_x0_25.demo_world", "osnet_x0_25.other_world"] and len(names) == 114


def test_manifests_of_the_option_follow_those_of_the_environment_and_last_for_one_command(tmp_path, monkeypatch):
    text = (ROOT / "reidhub/demo/data/manifest.yaml").read_text()
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(text)
    second.write_text(text.replace("demo_world\n    model", "other_world\n    model"))
    monkeypatch.setenv("REIDHUB_MANIFEST", str(first))
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)

    done = CliRunner().invoke(cli, ["--manifest", "b.yaml", "list", "*world"])

    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [
        "osnet_x0_25.demo_world",
        "osnet_x0_25.other_world",
    ]
    assert dict(os.environ) == before
    assert [c.name for c in zoo().find("*world")] == ["osnet_x0_25.demo_world"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    done = reidhub(command, "--help")

    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: reidhub {command}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is a thing of Linux")
@pytest.mark.parametrize("command", [("list",), ("list", "--json"), ("cache", "dir")])
def test_output_that_the_disk_does_not_take_is_told_without_a_traceback(command):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "reidhub", *command], stdout=full, stderr=-1, text=True)

    assert done.returncode == 1
    assert done.stderr == "error: cannot write: No space left on device\nhint: make room on that disk\n"
