"""`make dist` finds files in a wheel or sdist that are not expected or different, and files that are missing."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools import try_distributions
from tools.try_distributions import FreshEnvironment, compare_files, name_as_in_checkout, read_sdist, read_wheel

PACKAGE = {"reidhub/__init__.py": b"code", "reidhub/manifest/zoo.yaml": b"names", "reidhub/page.html": b"page"}
PACKED = {"reidhub/__init__.py": b"code", "reidhub/page.html": b"an old page", "tests/test_api.py": b"test"}


def test_the_files_of_a_wheel_are_compared_without_its_metadata(tmp_path: Path):
    wheel = tmp_path / "reidhub-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in {**PACKED, "reidhub-1.0.dist-info/licenses/LICENSE": b"MIT"}.items():
            archive.writestr(name, content)

    assert compare_files("it", read_wheel(wheel), PACKAGE) == [
        "it lacks reidhub/manifest/zoo.yaml",
        "it has tests/test_api.py, which is no file of the package in git",
        "it has other bytes in reidhub/page.html",
    ]


def test_the_files_of_an_sdist_are_compared_without_what_builds_the_wheel(tmp_path: Path):
    sdist = tmp_path / "reidhub-1.0.tar.gz"
    extra = {"manifest/zoo.yaml": b"names", "setup.py": b"setup", "reidhub.egg-info/PKG-INFO": b"", "PKG-INFO": b""}
    with tarfile.open(sdist, "w:gz") as archive:
        for name, content in {**PACKED, **extra}.items():
            member = tarfile.TarInfo(f"reidhub-1.0/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

    assert compare_files("it", read_sdist(sdist), name_as_in_checkout(PACKAGE)) == [
        "it has tests/test_api.py, which is no file of the package in git",
        "it has other bytes in reidhub/page.html",
    ]


def test_a_file_that_pip_leaves_behind_is_named(tmp_path: Path, monkeypatch):
    environment = FreshEnvironment(tmp_path)
    left = environment.root / "lib" / "site-packages" / "reidhub"
    left.mkdir(parents=True)
    monkeypatch.setattr(try_distributions, "run", lambda *command, cwd: "")

    with pytest.raises(SystemExit, match=f"pip uninstall left {left}"):
        environment.uninstall()


def test_a_command_that_fails_ends_the_script_with_its_output(tmp_path: Path):
    with pytest.raises(SystemExit, match="ended with 2:\nwhat it printed"):
        try_distributions.run("bash", "-c", "echo what it printed; exit 2", cwd=tmp_path)


def test_commands_do_not_see_the_variables_of_the_caller(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("REIDHUB_HOME", "elsewhere")

    shown = try_distributions.run("env", cwd=tmp_path, settings={"REIDHUB_MANIFEST": "own.yaml"})

    assert "elsewhere" not in shown and "REIDHUB_MANIFEST=own.yaml" in shown
