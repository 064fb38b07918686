"""``reidhub completion``: print the script with which a shell completes commands, options and names."""

import click

from reidhub.cli.completion import SHELLS, make_completion
from reidhub.cli.examples import Command


@click.command(
    "completion",
    cls=Command,
    examples="""
    # Write the script for fish
    reidhub completion fish > ~/.config/fish/completions/reidhub.fish
    # Add the script for bash, if the package bash-completion is not installed
    reidhub completion bash >> ~/.bashrc
    """,
)
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script with which a shell completes commands, options and names.

    Write it to a file that your shell reads, and start a new shell:

    \b
    bash  ~/.local/share/bash-completion/completions/reidhub
    zsh   _reidhub_completion in a folder of $fpath
    fish  ~/.config/fish/completions/reidhub.fish

    The folder of the file must exist. bash must be version 4.4 or later, and needs the package bash-completion to read
    this file. The bash of macOS is version 3.2, which cannot use the script: use zsh there, or install a newer bash.
    """  # noqa: D301  click needs this backspace
    click.echo(make_completion(ctx.find_root().command, shell).source(), nl=False)
