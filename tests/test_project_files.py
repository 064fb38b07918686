"""The files that other programs read about this project agree with the code and with each other."""

import configparser
import re
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT

from reidhub._version import __version__

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def setup_option(name: str) -> str:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config["options"][name]


def test_the_citation_names_the_version_of_the_package():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__


def test_the_oldest_torch_that_is_tested_is_the_oldest_that_is_allowed():
    tested = (ROOT / ".github" / "oldest-torch.txt").read_text().split()
    allowed = [line for line in setup_option("install_requires").split() if line.startswith("torch")]
    assert tested == [line.replace(">=", "==") + ".*" for line in allowed]


def test_the_oldest_python_that_is_tested_is_the_oldest_that_is_allowed():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]
    suite = [entry["python"] for entry in jobs["suite"]["strategy"]["matrix"]["include"]]
    commands = jobs["commands"]["strategy"]["matrix"]["python"]
    for tested in (suite, commands):
        oldest = min(tested, key=lambda version: [int(part) for part in version.split(".")])
        assert setup_option("python_requires") == f">={oldest}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_uses_actions_of_a_fixed_version_without_secrets(path: Path):
    text = path.read_text()
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    actions = re.findall(r"uses: (\S+)", text)
    assert actions and all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+(\.\d+)*", action) for action in actions)
    assert "secrets." not in text


def test_the_targets_that_workflows_and_pages_name_are_in_the_makefile():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in re.findall(r"(?:^|`)make ([a-z][\w-]*)", page.read_text(), re.M)}
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]
    named |= {entry["target"] for entry in jobs["suite"]["strategy"]["matrix"]["include"]}
    assert {"test", "suite", "demo"} <= named <= targets
