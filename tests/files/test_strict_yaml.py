"""YAML files of the package itself; manifests are tested in tests/zoo."""

import shutil
import subprocess
import sys

import pytest
from support.paths import GUARD, ROOT

from reidhub.errors import InstallationError, ManifestError
from reidhub.files.strict_yaml import Value, read_package_list


@pytest.mark.parametrize(
    ("text", "message"),
    [("- one\n- 2\n", r":2: expected a text"), ("one: 1\n", "package.yaml is a list"), (None, "cannot be read")],
)
def test_broken_file_of_the_package_asks_for_a_new_installation_not_for_another_manifest(tmp_path, text, message):
    file = tmp_path / "package.yaml"
    if text is not None:
        file.write_text(text)

    with pytest.raises(InstallationError, match=message) as error:
        read_package_list(file, Value.text)

    assert not isinstance(error.value, ManifestError)
    assert "install reidhub again" in str(error.value)


def test_package_without_its_manifest_says_so(tmp_path):
    shutil.copytree(ROOT / "reidhub", tmp_path / "reidhub", ignore=shutil.ignore_patterns("__pycache__"))

    done = subprocess.run(
        [sys.executable, "-m", "reidhub", "list"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{GUARD}:{tmp_path}", "REIDHUB_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert done.stderr == (
        f"error: no manifest beside {tmp_path / 'reidhub'}\nhint: install reidhub again from its repository\n"
    )
