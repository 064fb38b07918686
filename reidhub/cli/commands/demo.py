"""``reidhub demo``: the whole road on loopback hosts and a generated world."""

import signal
import sys
from pathlib import Path
from types import FrameType

import click


@click.command("demo")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Work in this folder and leave it.")
@click.option("--json", "as_data", is_flag=True, help="The verification's JSON instead of its table.")
def command(*, keep: Path | None, as_data: bool) -> None:
    """Download a small checkpoint, check it and re-measure its scores, without an internet.

    Servers on this machine's loopback speak Mega's and Google Drive's protocols; the dataset is drawn: people who do
    not exist, before 4 cameras, in Market-1501's layout. Everything else is what `reidhub download` and
    `reidhub verify` always do. Takes one to two minutes and, without --keep, leaves nothing behind.
    """
    from reidhub.demo.run import run

    signal.signal(signal.SIGTERM, _end)
    sys.exit(run(keep=keep, as_data=as_data, tell=lambda line: click.echo(line, err=True)))


def _end(number: int, frame: FrameType | None) -> None:
    """Leave through every ``with`` block, as Ctrl-C does."""
    sys.exit(128 + number)
