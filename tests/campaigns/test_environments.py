"""The commands in environments of all kinds: no home, another user, read-only, odd names, locales, closed streams."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.local_zoos import Entry, file_of, write_zoo
from support.paths import TESTS
from support.strangers import as_stranger

NAME = "osnet_x0_25.one"
EMBED = f"""
import os, torch, reidhub
before = dict(os.environ)
try:
    embedder = reidhub.embedder({NAME!r})
except reidhub.ReidhubError as error:
    raise SystemExit(f"error: {{error}}")
print(tuple(embedder(torch.zeros(1, 3, 64, 32, dtype=torch.uint8)).shape))
assert dict(os.environ) == before
"""
COMMANDS = {
    "list": ["list"],
    "show": ["show", NAME],
    "links": ["links", NAME],
    "cache dir": ["cache", "dir"],
    "download": ["download", NAME],
    "pin": ["pin", NAME],
    "cache list": ["cache", "list"],
    "mirror": ["mirror", "{folder}/mirror", NAME],
    "cache add": ["cache", "add", "--copy", "{folder}/zoo/osnet_x0_25.one.pth"],
    "cache check": ["cache", "check"],
    "cache prune": ["cache", "prune"],
    "doctor": ["doctor", "{folder}/zoo/osnet_x0_25.one.pth"],
    "download --format": ["download", "--format", "safetensors", NAME],
    "verify": ["verify", "--level", "files", NAME],
    "embed": ["-c", EMBED],
    "cache remove": ["cache", "remove", NAME],
}
SHORT = {"list", "show", "download", "mirror", "cache check", "cache remove"}
"""The commands of the short form."""
NEED_A_CACHE = {name for name in COMMANDS if name.startswith(("cache", "download"))} | {
    "mirror",
    "pin",
    "verify",
    "embed",
}
WRITE_TO_THE_CACHE = {"download", "download --format", "mirror", "pin", "cache add", "verify", "embed"}


@dataclass(frozen=True)
class Environment:
    """An environment of a process.

    Args:
        variables: environment variables; None removes one. ``{folder}`` is the folder of the test.
        failing: the commands that must fail; all others must succeed.
        message: part of each error message.
        stranger: run as a user without privileges, whom the system does not know.
        fill: fill the cache before.
        mode: mode of all folders of the cache.
    """

    variables: dict[str, str | None] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    message: str = ""
    stranger: bool = False
    fill: bool = False
    mode: int = 0o755


HOMELESS = dict.fromkeys(("HOME", "REIDHUB_HOME", "TORCH_HOME", "XDG_CACHE_HOME"))
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ENVIRONMENTS = {
    "usual": Environment(),
    "no home folder": Environment(HOMELESS, NEED_A_CACHE, "hint: set REIDHUB_HOME", stranger=True),
    "home folder of nobody": Environment({"REIDHUB_HOME": "~no-such-user/x"}, NEED_A_CACHE, "hint: set REIDHUB_HOME"),
    "home folder that does not exist": Environment(
        {**HOMELESS, "HOME": "/proc/no/home"}, WRITE_TO_THE_CACHE, "No such file or directory", stranger=True
    ),
    "empty read-only cache": Environment({}, WRITE_TO_THE_CACHE, "Permission denied", stranger=True, mode=0o555),
    "filled read-only cache": Environment(
        {},
        {"cache remove", "download --format"},
        "Permission denied",
        stranger=True,
        fill=True,
        mode=0o555,
    ),
    "folder of another alphabet": Environment({"REIDHUB_HOME": "{folder}/Käse 缓存"}),
    "folder that is not UTF-8": Environment({"REIDHUB_HOME": "{folder}/k\udce4se"}),
    "locale C": Environment({**C_LOCALE, "REIDHUB_HOME": "{folder}/Käse 缓存"}),
    "output in ASCII": Environment({"PYTHONIOENCODING": "ascii", "REIDHUB_HOME": "{folder}/Käse 缓存"}),
    "no temporary folder": Environment({"TMPDIR": "/no/such/folder"}),
}


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a manifest and its checkpoint file, and return the path of the manifest."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    return write_zoo(folder, Entry(NAME, file_of("osnet_x0_25", 5), classes=5))


def environment_of(chosen: Environment, folder: Path, zoo: str) -> dict[str, str]:
    variables = {**os.environ, "REIDHUB_HOME": "{folder}/cache", "REIDHUB_MANIFEST": zoo, **chosen.variables}
    return {name: text.replace("{folder}", str(folder)) for name, text in variables.items() if text is not None}


def run_all(chosen: Environment, folder: Path, zoo: str, commands: dict[str, list[str]]) -> dict[str, tuple[int, str]]:
    """Run the commands one after another, and return the exit code and stderr of each."""
    arguments = [[text.replace("{folder}", str(folder)) for text in command] for command in commands.values()]
    out = folder / "out"
    out.mkdir()
    process = [sys.executable, "-m", "support.forked_commands", str(out), json.dumps(arguments)]
    done = subprocess.run(
        as_stranger(*process) if chosen.stranger else process,
        env=environment_of(chosen, folder, zoo),
        cwd=TESTS,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    errors = [(out / f"{number}.err").read_text(errors="replace") for number in range(len(commands))]
    return dict(zip(commands, zip(json.loads(done.stdout), errors, strict=True), strict=True))


ALIKE = {"usual", "home folder of nobody", "folder of another alphabet", "locale C", "no temporary folder"}
"""Environments of the long form."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in ALIKE else ()) for name in ENVIRONMENTS]
)
def test_every_command_works_or_ends_with_an_error_in_words(
    name: str, zoo: str, tmp_path: Path, long: bool, tell: Callable[[str], None]
) -> None:
    chosen, cache = ENVIRONMENTS[name], tmp_path / "cache"
    left_out = set() if long else COMMANDS.keys() - SHORT
    commands = {name: command for name, command in COMMANDS.items() if name not in left_out}
    cache.mkdir()
    if chosen.fill:
        (tmp_path / "first").mkdir()
        filled = run_all(Environment(), tmp_path, zoo, {"download": COMMANDS["download"]})
        assert filled["download"][0] == 0
        (tmp_path / "out").rename(tmp_path / "first" / "out")
    for path in [cache, *cache.rglob("*")]:
        path.chmod(chosen.mode if path.is_dir() else chosen.mode & 0o666)

    ends = run_all(chosen, tmp_path, zoo, commands)

    for path in [cache, *cache.rglob("*")]:
        path.chmod(0o755)
    tell(f"{name}: {len(ends)} commands, {sum(code != 0 for code, _ in ends.values())} ended with an error in words")
    assert not [text for _, text in ends.values() if "Traceback" in text]
    assert {command for command, (code, _) in ends.items() if code} == chosen.failing - left_out
    for code, text in ends.values():
        assert code in (0, 1)
        assert code == 0 or (chosen.message in text and "error: " in text), text


CLOSED = {"stdin": "<&-", "stdout": ">&-", "stderr": "2>&-", "all": "<&- >&- 2>&-"}


@pytest.mark.parametrize(
    "streams", [pytest.param(name, marks=pytest.mark.long if name != "all" else ()) for name in CLOSED]
)
def test_closed_streams_are_no_reason_for_a_traceback(streams: str, zoo: str, tmp_path: Path, long: bool) -> None:
    environment = environment_of(Environment(), tmp_path, zoo)
    commands = [COMMANDS[name] for name in (("list", "download", "cache check", "verify") if long else ("download",))]
    for command in commands:
        shell = ["sh", "-c", f'exec "$@" {CLOSED[streams]}', "sh", sys.executable, "-m", "reidhub", *command]
        done = subprocess.run(shell, env=environment, capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        assert done.returncode == 0 or "error: " in done.stderr or "stderr" in streams or streams == "all"
