"""``reidhub download`` in a process of its own, over the loopback internet and two standard variables alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.generated_zoo import File, content, hosts, reidhub, shell, stored, write_manifest

from reidhub.files.digest import Digest
from reidhub.testing.hosts import Drive, Mega, Static, page
from reidhub.testing.internet import Internet, Response
from reidhub.zoo.manifest import zoo

PUBLISHED = ("imagenet", "market1501", "msmt17")
NAMES = [f"osnet_x0_25.{tag}" for tag in PUBLISHED]
ZOO = [File("one", content(900_001)), File("two", content(131_072), pinned=False), File("three", content(1_500_000))]

LIGHT = """
import sys
from reidhub.cli import cli
try:
    cli(sys.argv[1:])
except SystemExit as end:
    assert end.code == 0, end.code
sys.exit(", ".join({"torch", "numpy", "torchvision", "rich"} & set(sys.modules)) or 0)
"""


def gone(_):
    return Response(200, b"[-9]")


def published_hosts(folder: Path) -> dict:
    """The three real files under the links that the manifest publishes for them, on every host it names."""
    found = {c.name: c.artifact for name in NAMES for c in zoo().find(name)}
    mega, drive, web = {}, {}, {}
    for tag, artifact in zip(PUBLISHED, found.values(), strict=True):
        data = (folder / f"osnet_x0_25_{tag}.pth").read_bytes()
        for source in artifact.sources:
            if source.kind == "mega":
                mega[source.location] = data
            elif source.kind == "gdrive":
                drive[source.location.rpartition("=")[2]] = data
            else:
                host, _, path = source.location.removeprefix("https://").partition("/")
                web.setdefault(host, {})[f"/{path}"] = data
    return {**Mega(mega).hosts, **Drive(drive).hosts, **{host: Static(files) for host, files in web.items()}}


@pytest.mark.parametrize("dead", [(), ("mega",), ("mega", "gdrive")], ids=["mega", "drive", "https"])
def test_the_published_links_lead_to_the_real_files(dead, real_weights, reidhub_home):
    with Internet(published_hosts(real_weights)) as internet:
        if "mega" in dead:
            internet.hosts[Mega.API] = gone
        if "gdrive" in dead:
            internet.hosts[Drive.CONTENT] = lambda _: page(404, "Error 404 (Not Found)!!1")
        done = reidhub("download", *NAMES, environment=shell(internet, reidhub_home))
    assert done.returncode == 0, done.stderr
    paths = [Path(line) for line in done.stdout.splitlines()]
    originals = [real_weights / f"osnet_x0_25_{tag}.pth" for tag in PUBLISHED]
    assert [path.read_bytes() for path in paths] == [original.read_bytes() for original in originals]
    giver = [Mega.STORAGE, Drive.CONTENT, "huggingface.co"][len(dead)]
    assert sum(request.host == giver for request in internet.log) >= len(NAMES)


@pytest.fixture
def manifest(tmp_path) -> str:
    return str(write_manifest(tmp_path / "zoo.yaml", ZOO))


@pytest.mark.parametrize("kind", ["mega", "gdrive", "https"])
def test_generated_files_come_from_every_kind_of_host(kind, tmp_path, reidhub_home):
    files = [File(file.tag, file.data, kinds=(kind,), pinned=file.pinned) for file in ZOO]
    manifest = str(write_manifest(tmp_path / "zoo.yaml", files))
    with Internet(hosts(files)) as internet:
        environment = shell(internet, reidhub_home)
        done = reidhub("--manifest", manifest, "download", *[file.name for file in files], environment=environment)
        assert done.returncode == 0, done.stderr
        seen = len(internet.log)
        again = reidhub("--manifest", manifest, "download", *[file.name for file in files], environment=environment)
    assert again.stdout == done.stdout
    assert len(internet.log) == seen  # the second run opened no connection
    assert [Path(line).read_bytes() for line in done.stdout.splitlines()] == [file.data for file in files]


def test_the_output_folder_gets_copies_under_the_names_of_the_checkpoints(manifest, tmp_path, reidhub_home):
    out = tmp_path / "out"
    with Internet(hosts(ZOO)) as internet:
        arguments = ("--manifest", manifest, "download", ZOO[0].name, "-o", str(out), "--json")
        done = reidhub(*arguments, environment=shell(internet, reidhub_home))
    (result,) = json.loads(done.stdout)
    assert Path(result["path"]) == out / f"{ZOO[0].name}.pth"
    assert (out / f"{ZOO[0].name}.pth").read_bytes() == ZOO[0].data
    assert (result["size"], result["checked_by"], result["error"]) == (len(ZOO[0].data), "sha256", None)


WRONG = {
    "truncated": ZOO[0].data[:-16],
    "one byte more": ZOO[0].data + b"\0",
    "swapped": ZOO[2].data,
    "flipped": b"\0" + ZOO[0].data[1:],
    "a page": b"<!DOCTYPE html><html><title>Quota exceeded</title></html>",
    "empty": b"",
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_file_on_every_host_is_an_error_and_gets_no_name(wrong, manifest, reidhub_home):
    with Internet(hosts(ZOO, {"one": wrong})) as internet:
        arguments = ("--manifest", manifest, "download", ZOO[0].name, ZOO[1].name)
        done = reidhub(*arguments, environment=shell(internet, reidhub_home))
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    at = lines.index(f"error: none of 3 sources gave {ZOO[0].name} (sha256 {Digest.of_bytes(ZOO[0].data).short}...)")
    assert [line.split()[0] for line in lines[at + 1 : at + 5]] == ["mega", "gdrive", "https", "hint:"]
    assert all("expected" in line for line in lines[at + 1 : at + 4]), done.stderr
    assert lines[-1] == f"1 of 2 checkpoints failed: {ZOO[0].name}"
    assert stored(reidhub_home) == {Digest.of_bytes(ZOO[1].data).hex: ZOO[1].data}
    assert done.stdout.splitlines() == [str(reidhub_home / "files" / f"{Digest.of_bytes(ZOO[1].data)}.pth")]


@pytest.mark.parametrize("kind", ["mega", "gdrive", "https"])
def test_a_download_needs_neither_torch_nor_numpy(kind, tmp_path, reidhub_home):
    file = File("light", content(200_000), kinds=(kind,))
    manifest = str(write_manifest(tmp_path / "zoo.yaml", [file]))
    with Internet(hosts([file])) as internet:
        command = [sys.executable, "-c", LIGHT, "--manifest", manifest, "download", file.name]
        done = subprocess.run(command, env=shell(internet, reidhub_home), capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).read_bytes() == file.data


def test_where_the_cache_cannot_be_made_the_error_says_what_to_do(manifest, tmp_path):
    home = tmp_path / "a file"
    home.write_text("")
    with Internet(hosts(ZOO)) as internet:
        done = reidhub("--manifest", manifest, "download", ZOO[0].name, environment=shell(internet, home))
    assert done.returncode == 1
    assert f"error: cannot use the cache folder {home}" in done.stderr
    assert "hint: set REIDHUB_HOME to another folder" in done.stderr
    assert home.read_text() == ""
