"""The ``--help`` of every command ends with two examples, and they work.

Examples that need torch take seconds: they are run with ``--long``; without it, their words are only parsed.
"""

import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from support.documentation import Desk
from support.shown_commands import fill_in, read_commands

from reidhub.cli import cli

NEEDS_TORCH = {
    *("doctor", "verify", "evaluate", "compare", "embed", "rank", "activation", "export", "card", "publish", "demo"),
    *("site", "cache check"),
}
MEASURE = "reidhub verify osnet_x0_25.market1501 --data-root ~/reid --allow-partial --precision exact --receipt"
BEFORE = {
    "completion": ["mkdir -p ~/.config/fish/completions"],
    "compare": [f"{MEASURE} before.json", f"{MEASURE} after.json"],
    "card": ["reidhub evaluate my.pth --data shop --precision exact --receipt receipt.json"],
    "publish": ["reidhub evaluate my.pth --data shop --precision exact --receipt receipt.json"],
    "site": [f"{MEASURE} receipt.json", "reidhub links 'osnet_*' --json > links.json"],
    "rank": ["reidhub embed osnet_x1_0.msmt17 gallery -o embeddings"],
}
"""Commands that make what the examples of a command need."""


def list_commands(command: click.Command, *words: str) -> Iterator[tuple[str, click.Command]]:
    """Yield the command and all commands below it, with the words that call them."""
    yield " ".join(words), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from list_commands(command.get_command(context, name), *words, name)


COMMANDS = dict(list_commands(cli))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_ends_with_two_examples_that_can_be_copied_from_80_columns(name: str):
    shown = CliRunner().invoke(cli, [*name.split(), "--help"], terminal_width=80).stdout

    lines = [line.removeprefix("  ") for line in shown[shown.rindex("\nExamples:\n") :].splitlines()[2:]]
    comments = [number for number, line in enumerate(lines) if line.startswith("# ")]
    commands = read_commands("\n".join(lines))
    assert len(comments) == len(commands) == 2 and comments[0] == 0
    assert all(shlex.split(line)[0] == "reidhub" for line in commands)
    assert any(line.startswith(f"reidhub {name}".rstrip()) for line in commands)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in NEEDS_TORCH])
def test_the_examples_of_a_command_run(name: str, desk: Desk):
    run_all([*BEFORE.get(name, []), *map(fill_in, read_commands(COMMANDS[name].examples))], desk)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(NEEDS_TORCH))
def test_the_examples_of_a_command_that_needs_torch_run(name: str, desk: Desk):
    lines = [fill_in(line) for line in read_commands(COMMANDS[name].examples)]
    run_all(
        [*BEFORE.get(name, []), *(f"{line} --allow-partial" if "--data-root" in line else line for line in lines)], desk
    )


def run_all(lines: list[str], desk: Desk) -> None:
    for line in lines:
        done = desk.run(["bash", "-c", line])
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_the_examples_of_commands_that_need_torch_are_parsed(desk: Desk, monkeypatch):
    monkeypatch.chdir(desk.folder)
    for name in NEEDS_TORCH:
        monkeypatch.setattr(COMMANDS[name], "callback", None)  # nothing is run
        for line in read_commands(COMMANDS[name].examples):
            words = shlex.split(fill_in(line).partition(" > ")[0].replace("~", str(desk.home)))
            done = CliRunner().invoke(cli, words[1:])
            assert done.exit_code == 0, f"{line}\n{done.output}"
