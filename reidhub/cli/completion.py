"""Completion in shells: the script that a shell reads, and the answers to its questions.

Script and protocol are click's: the shell runs ``reidhub`` with the words of the line in environment variables.
"""

import os
import shlex
import sys
from pathlib import Path

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from reidhub.cli import COMPLETION


class _Bash(BashComplete):
    """Completes files and ``--option=value``, which bash no longer does itself once it uses click's script."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Leave out the ``=``: bash splits ``--option=value`` into three words."""
        words, text = super().get_completion_args()
        return [word for word in words if word != "="], text

    def get_completions(self, args: list[str], incomplete: str) -> "list[CompletionItem[str]]":
        """Add the files of this folder to names, because bash offers files only where no name matches."""
        items = super().get_completions(args, incomplete)
        if {item.type for item in items} == {"file", "plain"}:
            hidden = incomplete.startswith(".")
            files = [path.name for path in sorted(Path().iterdir()) if hidden or not path.name.startswith(".")]
            safe = [name for name in files if name.startswith(incomplete) and shlex.quote(name) == name]
            items += map(CompletionItem, safe)
        return items


class _WholeWords(ShellComplete):
    """Completes ``--option=value`` for shells in which this is one word."""

    def get_completions(self, args: list[str], incomplete: str) -> "list[CompletionItem[str]]":
        """Put ``--option=`` before each value."""
        items = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if equals and option.startswith("--"):
            for item in items:
                item.value = f"{option}={item.value}"
        return items


class _Zsh(_WholeWords, ZshComplete):
    pass


class _Fish(_WholeWords, FishComplete):
    source_template = FishComplete.source_template.replace('split ","', 'split -m 1 ","')  # else a comma ends the help


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def make_completion(cli: click.Command, shell: str) -> ShellComplete:
    """Make the object that writes the script of a shell and answers its questions.

    Args:
        cli: the command ``reidhub``.
        shell: a key of `SHELLS`.
    """
    return SHELLS[shell](cli, {}, "reidhub", COMPLETION)


def answer(cli: click.Command) -> None:
    """Print what the shell can offer, and no error: the user is still typing the command."""
    sys.stderr = None  # neither Python nor click prints errors then
    shell = os.environ[COMPLETION].partition("_")[0]
    click.echo(make_completion(cli, shell).complete().encode())
