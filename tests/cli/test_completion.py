"""Completion in real bash, zsh and fish, and of every argument and option of every command."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from support.terminals import type_lines
from support.zoo_entries import entry, reidhub, write_zoo

from reidhub.cli import cli
from reidhub.cli.completion import make_completion

SHELLS = {
    "bash": ("bash --norc --noprofile -i", ".bashrc", "source ~/.bashrc"),
    "zsh": ("zsh -f -i", "_reidhub_completion", "fpath+=~; autoload -U compinit; compinit -u -D"),
    "fish": ("fish --no-config -i", "reidhub.fish", "source ~/reidhub.fish"),
}
"""How a shell is started, the file in the home folder that gets the script, and what the user types first."""

PROGRAM = """\
#!/bin/sh
[ -n "$_REIDHUB_COMPLETE" ] && exec {python} -m reidhub
for word; do printf '%s ' "$word"; done >> {words}
echo >> {words}
"""
"""Answers the shell's questions as reidhub does; a command that was typed to its end is only written down."""

TYPED = {
    "reidhub --verb\tcompl\tz\t": "--verbose completion zsh",
    "reidhub cache pru\t--dry\t": "cache prune --dry-run",
    "reidhub show osnet_x0_25.mar\t": "show osnet_x0_25.market1501",
    "reidhub list '*.market\t": "list *.market1501",
    "reidhub list --sort=mA\t": "list --sort=mAP",
    "reidhub embed osnet_x1_0_m\tcro\t": "embed osnet_x1_0_mine.pth crops.png",
}
"""Text that the user types -> the arguments of the command."""


def install(name: str, home: Path) -> dict[str, str]:
    """Install a program ``reidhub`` and the script of a shell below a home folder; return the environment."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    (home / SHELLS[name][1]).write_text(reidhub("completion", name).stdout)
    (home / "bin").mkdir()
    (home / "bin" / "reidhub").write_text(PROGRAM.format(python=sys.executable, words=home / "words"))
    (home / "bin" / "reidhub").chmod(0o755)
    path = os.pathsep.join([str(home / "bin"), os.environ["PATH"]])
    own = {word: value for word, value in os.environ.items() if not word.startswith("XDG_")}
    return {**own, "HOME": str(home), "PATH": path, "TERM": "dumb"}


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_completes_what_is_typed(name: str, tmp_path: Path):
    environment = install(name, tmp_path)
    command, _, first = SHELLS[name]
    for file in ("osnet_x1_0_mine.pth", "crops.png"):
        (tmp_path / file).touch()

    shown = type_lines(command.split(), [first, *TYPED], tmp_path, environment)

    assert [line.strip() for line in (tmp_path / "words").read_text().splitlines()] == list(TYPED.values()), shown


def test_fish_shows_descriptions_as_a_whole(tmp_path: Path):
    environment = install("fish", tmp_path)
    line = "source ~/reidhub.fish; complete -C 'reidhub list --js'"
    done = subprocess.run(["fish", "--no-config", "-c", line], env=environment, capture_output=True, text=True)
    assert done.stdout == "--json\tPrint JSON, for programs.\n", done.stderr


def offer(*words: str) -> list[str]:
    """List the completions of the last word."""
    return [item.value for item in make_completion(cli, "zsh").get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("show", "mlfn.m"), ["mlfn.market1501", "mlfn.msmt17"]),
        (("download", "--output", "x", "mlfn.im"), ["mlfn.imagenet"]),
        (("links", "osnet_ain_x0_2"), ["osnet_ain_x0_25", "osnet_ain_x0_25.imagenet"]),
        (("list", "*.ms_d"), ["*.ms_d_c", "*.ms_d_m"]),
        (("list", "--model", "osnet_x0_"), ["osnet_x0_25", "osnet_x0_5", "osnet_x0_75"]),
        (("list", "--trained-on", "veri"), ["veri776", "veriwild"]),
        (("list", "--tested-on", "veri776"), ["veri776"]),
        (("verify", "--on", "m"), ["market1501", "msmt17"]),
        (("embed", "mlfn", "--architecture", "mlf"), ["mlfn"]),
        (("rank", "mlfn", "x", "--device", ""), ["cpu", "cuda"]),
        (("export", "mlfn", "--format", "o"), ["onnx", "openvino"]),
        (("cache", "re"), ["remove"]),
        (("no-such-command", "x"), []),
    ],
)
def test_names_of_the_right_kind_are_offered(words: tuple[str, ...], offered: list[str]):
    assert offer(*words) == offered


FREE = {
    *("jobs", "batch_size", "max_params_m", "opset", "top", "shard", "address", "pattern", "unused_since", "max_size"),
    "docs",
}
"""Parameters whose values are numbers or texts, which no shell can know."""


def list_parameters(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Parameter]]:
    """Yield the words that call a command, and one of its parameters with a value, for all commands."""
    context = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from list_parameters(command.get_command(context, name), *words, name)
    for parameter in command.params:
        if not getattr(parameter, "is_flag", False):
            yield words, parameter


def test_every_argument_and_every_option_with_a_value_is_completed():
    context = click.Context(cli)
    parameters = [(*words, one.name) for words, one in list_parameters(cli) if not one.shell_complete(context, "")]
    assert [words for words in parameters if words[-1] not in FREE] == []


def test_bash_gets_names_and_files_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for file in ("mlfn.mine.pth", "mlfn.my file.pth", ".mlfn"):
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    items = make_completion(cli, "bash").get_completions(["embed"], "mlfn.m")
    assert [item.value for item in items[1:]] == ["mlfn.market1501", "mlfn.msmt17", "mlfn.mine.pth"]
    assert items[0].type == "file"


def test_checkpoints_of_the_option_manifest_are_offered(tmp_path: Path):
    manifest = write_zoo(tmp_path, entry("osnet_x0_25.mine", "https: https://web.org/a"))
    assert offer("--manifest", str(manifest), "show", "osnet_x0_25.mi") == ["osnet_x0_25.mine"]
    assert offer("show", "osnet_x0_25.mi") == []


def ask(line: str) -> dict[str, str]:
    """The variables with which bash asks for the last word of a line."""
    return {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_REIDHUB_COMPLETE": "bash_complete"}


def test_no_error_is_printed_while_the_user_types(tmp_path: Path):
    (tmp_path / "broken.yaml").write_text("checkpoints: [")
    line = ask("reidhub show osnet_x0_25.ma")
    done = reidhub(**line, REIDHUB_MANIFEST=str(tmp_path / "broken.yaml"))
    assert (done.stdout, done.stderr) == ("", "")
    done = reidhub(**line, REIDHUB_HOME="/dev/null")
    assert (done.stdout, done.stderr) == ("plain,osnet_x0_25.market1501\n", "")


@pytest.mark.parametrize(
    ("line", "imported"),
    [("reidhub ", set()), ("reidhub verify m", {"reidhub.cli.commands.verify"})],
)
def test_an_answer_imports_the_one_command_and_no_torch(line: str, imported: set[str]):
    code = "import sys; from reidhub.cli import main; main(); print(*sys.modules)"
    environment = {**os.environ, **ask(line)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    modules = set(done.stdout.splitlines()[-1].split())
    assert {name for name in modules if name.startswith("reidhub.cli.commands.")} == imported
    assert not modules & {"torch", "numpy", "requests", "tqdm"}
