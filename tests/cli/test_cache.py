"""The commands ``reidhub cache ...`` in processes of their own, but for those that would import torch there."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.stored_files import age, damage, put
from support.verify_runs import run_here
from support.zoo_entries import entry, reidhub, write_zoo

from reidhub.cache.store import Cache
from reidhub.cli.options import parse_duration, parse_size
from reidhub.errors import IntegrityError
from reidhub.testing.hosts import Static
from reidhub.testing.internet import Internet

BODIES = {name: b"\x80\x02" + os.urandom(100_000 * (number + 1)) for number, name in enumerate(["a.a", "a.b", "a.c"])}


@pytest.fixture
def cache(reidhub_home):
    return Cache(reidhub_home)


@pytest.fixture
def paths(cache):
    return {name: put(cache, name, body, days_ago=30 - 10 * n) for n, (name, body) in enumerate(BODIES.items())}


@pytest.fixture
def zoo(tmp_path):
    return write_zoo(tmp_path, *(entry(n, f"https: https://example.org/{n}", pinned=b) for n, b in BODIES.items()))


def test_dir_prints_the_folder(cache):
    assert reidhub("cache", "dir").stdout == f"{cache.root}\n"
    assert json.loads(reidhub("cache", "dir", "--json").stdout) == {"dir": str(cache.root)}


def test_list_prints_a_line_for_each_file(cache, paths):
    done = reidhub("cache", "list")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["checkpoint", "sha256", "size", "checked", "by", "last", "used"]
    assert re.fullmatch(rf"a\.b +{paths['a.b'].stem[:8]} +0\.2 MB +sha256 +\d{{4}}-\d\d-\d\d", lines[2])
    assert done.stderr == f"3 files, 0.6 MB, in {cache.root}\n"
    data = json.loads(reidhub("cache", "list", "--json").stdout)
    assert [item["path"] for item in data] == [str(path) for path in paths.values()]
    assert {"name", "sha256", "size", "checked_by", "source", "last_used", "changed"} < set(data[0])


def test_list_tells_of_what_was_left_over(cache, paths):
    cache.partial.mkdir()
    (cache.partial / "key-1.part").write_bytes(bytes(1_000_000))
    age(cache.partial / "key-1.part", 7200)
    assert "1 left-over, 1.0 MB, for `reidhub cache prune` to remove" in reidhub("cache", "list").stderr


def test_check_passes_an_intact_cache(paths):
    done = reidhub("cache", "check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "3 of 3 files intact\n")


def test_check_names_a_broken_file_and_removes_it_when_told_to(paths):
    damage(paths["a.b"], unnoticed=True)
    done = reidhub("cache", "check")
    assert done.returncode == 1
    assert done.stdout.startswith(f"a.b  {paths['a.b']}  broken: expected sha256")
    assert paths["a.b"].exists()
    data = json.loads(reidhub("cache", "check", "--remove", "--json").stdout)
    assert [(item["state"], item["removed"]) for item in data] == [
        ("intact", False),
        ("broken", True),
        ("intact", False),
    ]
    assert not paths["a.b"].exists()
    assert reidhub("cache", "check").returncode == 0


def test_prune_does_as_it_is_told_and_a_dry_run_nothing(paths):
    options = ("cache", "prune", "--unused-since", "25d", "--max-size", "310kB")
    dry = reidhub(*options, "--dry-run")
    assert dry.returncode == 0
    assert [line.split()[0] for line in dry.stdout.splitlines()] == ["a.a", "a.b"]
    assert dry.stderr == "2 to remove, 0.3 MB\n"
    assert all(path.exists() for path in paths.values())
    data = json.loads(reidhub(*options, "--json").stdout)
    assert [(item["name"], item["removed"]) for item in data] == [("a.a", True), ("a.b", True)]
    assert [path.exists() for path in paths.values()] == [False, False, True]


def test_a_model_for_another_openvino_is_pruned_and_one_for_this_is_kept(paths, monkeypatch, capsys):
    version = importlib.metadata.version("openvino")
    kept, old = (
        paths["a.a"].with_name(f"{paths['a.a'].stem}.openvino-{number}-1-OSNet-256x128-fp32.zip")
        for number in (version, "2020.1.0")
    )
    for path in (kept, old):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.xml", "layers")
            archive.writestr("model.bin", bytes(1_000_000))

    assert run_here(monkeypatch, capsys, "cache", "check").returncode == 0
    done = run_here(monkeypatch, capsys, "cache", "prune")

    assert done.stdout == f"a.a  {old}  1.0 MB  made for another version of OpenVINO\n"
    assert kept.exists() and not old.exists() and all(path.exists() for path in paths.values())


def test_a_damaged_model_for_openvino_is_found_and_removed_alone(paths, monkeypatch, capsys):
    version = importlib.metadata.version("openvino")
    path = paths["a.a"].with_name(f"{paths['a.a'].stem}.openvino-{version}-1-OSNet-256x128-fp32.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.xml", "layers")
        archive.writestr("model.bin", bytes(1000))
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)

    assert run_here(monkeypatch, capsys, "cache", "check").returncode == 1
    assert run_here(monkeypatch, capsys, "cache", "check", "--remove").returncode == 1

    assert not path.exists() and paths["a.a"].exists() and reidhub("cache", "check").returncode == 0


@pytest.mark.parametrize("option", [("--unused-since", "30 moons"), ("--max-size", "-1"), ("--max-size", "many")])
def test_a_quantity_that_is_none_is_wrong_usage(option):
    done = reidhub("cache", "prune", *option)
    assert done.returncode == 2
    assert "is not a" in done.stderr or "No such option" in done.stderr


def test_quantities_are_read_as_people_write_them():
    assert [parse_duration(text) for text in ("12h", "30d", "2w", "1.5 h")] == [43200, 2592000, 1209600, 5400]
    assert [parse_size(text) for text in ("17", "2GB", "500 MB", "1.5GiB", "1kb")] == [
        17,
        2 * 10**9,
        5 * 10**8,
        1610612736,
        1000,
    ]


def test_remove_takes_the_checkpoints_that_are_meant(paths, zoo):
    done = reidhub("--manifest", zoo, "cache", "remove", "a.a", "a.c")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["a.a", "a.c"]
    assert [path.exists() for path in paths.values()] == [False, True, False]
    again = reidhub("--manifest", zoo, "cache", "remove", "a.a", "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, [])
    assert "note: a.a is not in the cache" in again.stderr
    assert "is not in" not in reidhub("--manifest", zoo, "cache", "remove", "a.*").stderr


def test_remove_forgets_the_first_download_when_told_to(cache, tmp_path):
    zoo = write_zoo(tmp_path, entry("u.u", "https: https://example.org/u.u"))
    put(cache, "u.u", b"\x80first", pinned=False)
    reidhub("--manifest", zoo, "cache", "remove", "u.u")
    with pytest.raises(IntegrityError, match="the first download had"):
        put(cache, "u.u", b"\x80second", pinned=False)
    reidhub("--manifest", zoo, "cache", "remove", "u.u", "--forget")
    put(cache, "u.u", b"\x80second", pinned=False)


def test_add_takes_in_what_it_knows_and_says_why_not_otherwise(cache, tmp_path, zoo):
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "a.pth").write_bytes(BODIES["a.a"])
    (folder / "page.pth").write_bytes(b"<html><title>Quota exceeded</title>")
    done = reidhub("--manifest", zoo, "cache", "add", tmp_path / "hub")
    assert done.returncode == 0
    assert done.stdout == f"added    {folder / 'a.pth'}: a.a, by its sha256, linked\n"
    assert f"refused  {folder / 'page.pth'}: expected a checkpoint file" in done.stderr
    assert done.stderr.endswith("1 added, 0 known already, 1 refused\n")
    with Internet({}) as internet:
        assert reidhub("--manifest", zoo, "download", "a.a", **internet.environment).returncode == 0
    assert internet.log == []


def test_add_fails_where_a_named_file_is_refused(tmp_path, zoo):
    for name, body in (("good.pth", BODIES["a.a"]), ("empty.pth", b"")):
        (tmp_path / name).write_bytes(body)
    done = reidhub("--manifest", zoo, "cache", "add", tmp_path / "good.pth", tmp_path / "empty.pth", "--copy", "--json")
    assert done.returncode == 1
    good, empty = json.loads(done.stdout)
    assert (good["state"], good["names"], good["checked_by"], good["linked"]) == ("added", ["a.a"], "sha256", False)
    assert (empty["state"], empty["reason"]) == ("refused", "expected a checkpoint file, got 0 bytes")


def test_an_empty_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    done = reidhub("cache", "add", tmp_path / "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: no file was found in {tmp_path / 'nothing'}\n")


def test_the_published_files_are_known_by_themselves(real_weights):
    done = reidhub("cache", "add", real_weights, "--json")
    found = {Path(item["path"]).name: item["names"] for item in json.loads(done.stdout)}
    assert found == {
        "osnet_ain_x0_25_imagenet.pyth": ["osnet_ain_x0_25.imagenet"],
        "osnet_x0_25_dukemtmcreid.pth": ["osnet_x0_25.dukemtmcreid"],
        "osnet_x0_25_imagenet.pth": ["osnet_x0_25.imagenet"],
        "osnet_x0_25_market1501.pth": ["osnet_x0_25.market1501"],
        "osnet_x0_25_msmt17.pth": ["osnet_x0_25.msmt17"],
    }


LIGHT = """
import sys
import zipfile
from pathlib import Path
from reidhub.cli import cli
try:
    cli({args!r})
except SystemExit as end:
    assert end.code in (0, 1), end.code
heavy = {{"torch", "numpy", "torchvision", "rich"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""


@pytest.mark.parametrize(
    "args",
    [
        ["cache", "list"],
        ["cache", "check"],
        ["cache", "prune"],
        ["cache", "add", "{file}"],
        ["cache", "remove", "a.a"],
        ["mirror", "{folder}", "a.a"],
        ["links", "a.a"],
        ["pin", "a.a"],
    ],
    ids=" ".join,
)
def test_no_command_imports_torch_or_numpy_without_reading_tensors(args, tmp_path, paths, zoo):
    (tmp_path / "a.pth").write_bytes(BODIES["a.a"])
    filled = [arg.format(file=tmp_path / "a.pth", folder=tmp_path / "mirror") for arg in args]
    code = LIGHT.format(args=["--manifest", str(zoo), *filled])
    with Internet({"example.org": Static({"/a.a": BODIES["a.a"]})}) as internet:
        environment = {**os.environ, **internet.environment}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
