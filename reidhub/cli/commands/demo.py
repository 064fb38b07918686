"""``reidhub demo``: download and verify a small checkpoint without the internet, on generated images."""

import sys
from pathlib import Path

import click

from reidhub.cli.examples import Command
from reidhub.cli.options import folder_option


@click.command(
    "demo",
    cls=Command,
    examples="""
    # Run the demo
    reidhub demo
    # Keep its files, to look at the images and the report
    reidhub demo --keep demo
    """,
)
@folder_option("--keep", help="Work in this folder and keep it.")
@click.option("--json", "as_data", is_flag=True, help="Print the verification as JSON instead of a table.")
def command(*, keep: Path | None, as_data: bool) -> None:
    """Download a small checkpoint, check it and measure its scores again, without an internet connection.

    Servers on this machine use the protocols of Mega and Google Drive. The images of the dataset are drawn by a program
    and show people who do not exist, seen by 4 cameras. The demo runs the ordinary commands `reidhub download` and
    `reidhub verify`. It takes one to two minutes. Without --keep, all its files are removed at the end.
    """
    from reidhub.demo.run import run

    sys.exit(run(keep=keep, as_data=as_data, tell=lambda line: click.echo(line, err=True)))
