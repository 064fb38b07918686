"""The ways the package gets onto a machine: a checkout, an editable install, a wheel, torch.hub's cache."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from support.paths import GUARD, ROOT

COUNT = "import reidhub, pathlib; print(len(reidhub.checkpoints()), pathlib.Path(reidhub.__file__).parent)"
LIGHT = """
import sys
from reidhub.cli import cli
try:
    cli({args!r})
except SystemExit as end:
    assert end.code in (0, 1), end.code
heavy = {{"torch", "numpy", "torchvision", "rich"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""


def python(*arguments: str, path: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(GUARD), path])}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=cwd)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what git would hand out."""
    target = tmp_path_factory.mktemp("checkout") / "reidhub"
    for name in ("reidhub", "manifest"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("hubconf.py", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    return target


def test_a_bare_checkout_finds_its_manifest(checkout, tmp_path):
    done = python("-c", COUNT, path=str(checkout), cwd=tmp_path)
    assert done.stdout.split() == ["112", str(checkout / "reidhub")], done.stderr


def test_the_editable_install_of_this_environment_finds_the_manifest(tmp_path):
    done = python("-c", COUNT, path="", cwd=tmp_path)
    assert done.stdout.split() == ["112", str(ROOT / "reidhub")], done.stderr


def test_a_wheel_carries_the_manifest_and_its_install_finds_it(checkout, tmp_path):
    built = python(
        "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", ".", str(checkout), path="", cwd=tmp_path
    )
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    templates = Path("reidhub", "verification", "report", "templates")
    assert {path.name for path in (site / templates).iterdir()} == {path.name for path in (ROOT / templates).iterdir()}
    assert {path.name for path in (site / "reidhub" / "manifest").iterdir()} == {
        path.name for path in (ROOT / "manifest").iterdir()
    }
    done = python("-c", COUNT, path=str(site), cwd=tmp_path)
    assert done.stdout.split() == ["112", str(site / "reidhub")], built.stderr + done.stderr
    assert not (site / "tests").exists()
    (metadata,) = site.glob("*.dist-info/METADATA")
    assert_links_into_the_repository_are_left_out(metadata.read_text(encoding="utf-8"))


def assert_links_into_the_repository_are_left_out(metadata: str) -> None:
    """The description is the README, without pictures and with the text alone of links to other pages."""
    description = metadata.partition("\n\n")[2]
    links = MarkdownIt("commonmark").enable("table").parse(description)
    targets = [
        str(token.attrs.get("href") or token.attrs.get("src"))
        for line in links
        for token in line.children or ()
        if token.type in ("link_open", "image")
    ]
    assert all(target.startswith("https:") for target in targets), targets
    before, _, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition("<p>\n<img")
    lines = [line for line in (before + rest.partition("</p>\n")[2]).splitlines() if "](" not in line]
    assert set(lines) <= set(description.splitlines())
    assert "Security, Changelog" in description and "docs/images" not in description


@pytest.mark.parametrize(
    "args", [["list"], ["list", "--json"], ["show", "osnet_x1_0.msmt17"], ["download", "osnet_ain_x1_0"]]
)
def test_looking_and_downloading_import_neither_torch_nor_numpy(args, tmp_path):
    done = python("-c", LIGHT.format(args=args), path=str(ROOT), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_else(tmp_path):
    code = "import sys; a = set(sys.modules); import reidhub; print(sorted(set(sys.modules) - a))"
    assert python("-c", code, path=str(ROOT), cwd=tmp_path).stdout.strip() == "['reidhub', 'reidhub._version']"


def test_every_public_name_is_there():
    import reidhub

    for name in reidhub.__all__:
        assert getattr(reidhub, name) is not None
    assert dir(reidhub) == sorted(reidhub.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = reidhub.nothing
