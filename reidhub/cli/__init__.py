"""The command line: one module per command, imported when that command runs.

Data goes to stdout, log and progress to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by
Ctrl-C, 143 stopped by SIGTERM.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reidhub._version import __version__
from reidhub.cli.examples import Group
from reidhub.cli.output import OutputError, protect_streams
from reidhub.cli.signals import end_on_signals
from reidhub.errors import ReidhubError
from reidhub.files.atomic import is_disk_full
from reidhub.zoo.manifest import add_manifests

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "list": "list checkpoints with their scores and sizes",
    "show": "print everything known about a checkpoint",
    "download": "download checkpoints into the cache",
    "cache": "list, check, fill and empty the folder of downloaded files",
    "mirror": "fill a folder for a web server or a shared disk",
    "links": "ask every source whether it still has its file",
    "pin": "print the lines that pin a file in the manifest",
    "doctor": "find out what a file is, and why it does not load",
    "verify": "measure reported scores again on your copy of a dataset",
    "evaluate": "score checkpoints on your own images",
    "compare": "compare two checkpoints or receipts, query by query",
    "embed": "write the embeddings of many images to a folder",
    "rank": "find the nearest images of a gallery, and draw contact sheets",
    "activation": "draw where in an image a model is active",
    "export": "write a file for onnxruntime, OpenVINO or PyTorch",
    "card": "write the model card of a checkpoint",
    "publish": "write a folder with weights and model card for a hub",
    "site": "write a static site that shows all checkpoints",
    "demo": "download and verify with hosts and images made on this machine",
    "completion": "print the script for completion in bash, zsh or fish",
}
"""Name of a command -> one line of help. The command itself is ``reidhub.cli.commands.<name>:command``."""

COMPLETION = "_REIDHUB_COMPLETE"
"""The environment variable that a shell sets when it asks for completions; it says which shell asks."""

_SILENT = ("list", "show")  # these commands log nothing, so they do not import logging


class _Commands(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"reidhub.cli.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"no command is called {args[0]!r}" + (f"; did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[str]]":
        """List the commands without importing them, and the options of the group."""
        from click.shell_completion import CompletionItem

        commands = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    examples="""
    # List the checkpoints that were trained on MSMT17
    reidhub list --trained-on msmt17
    # Download a checkpoint, and log what is tried
    reidhub --verbose download osnet_x1_0.msmt17
    """,
)
@click.version_option(__version__, prog_name="reidhub")
@click.option(
    "--manifest",
    "manifests",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Add a manifest file of your own to the zoo; may be repeated. $REIDHUB_MANIFEST does the same.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log to stderr what is tried.")
@click.pass_context
def cli(ctx: click.Context, *, manifests: tuple[Path, ...], verbose: bool) -> None:
    """Pretrained person re-identification models: download them, and measure their reported scores again."""
    ctx.with_resource(add_manifests(file.absolute() for file in manifests))
    if verbose or ctx.invoked_subcommand not in _SILENT:
        import logging  # imported here because it takes milliseconds

        level = logging.INFO if verbose else logging.WARNING
        logging.basicConfig(format="%(levelname)s: %(message)s", level=level, stream=sys.stderr)


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    if COMPLETION in os.environ:  # a shell asks what it can offer
        from reidhub.cli.completion import answer

        answer(cli)
        return
    protect_streams()
    with end_on_signals():
        sys.exit(_run())


def _run() -> int:
    """Run the command line; after a `ReidhubError` or on a full disk, print a message. Return the exit code."""
    try:
        return _call_command()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # after Ctrl-C, for which `end_on_signals` has the exit code
        click.echo("Aborted!", err=True)
        return 1
    except ReidhubError as error:
        if not (isinstance(error, OutputError) and error.is_unread):
            click.echo(f"error: {error}", err=True)
        return error.exit_code
    except OSError as error:
        if not is_disk_full(error):
            raise
        click.echo(f"error: cannot write: {error.strerror}\nhint: make room on that disk", err=True)
        return 1


def _call_command() -> int:
    try:
        code = cli(prog_name="reidhub", standalone_mode=False)
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()  # `tqdm.write` does not
    return int(code or 0)
