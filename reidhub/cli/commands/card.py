"""``reidhub card``: write the model card of a checkpoint."""

from pathlib import Path

import click

from reidhub.cli.candidates import list_names_and_files
from reidhub.cli.examples import Command
from reidhub.cli.options import architecture_option, receipts_option


@click.command(
    "card",
    cls=Command,
    examples="""
    # Write the card of a checkpoint to a file
    reidhub card osnet_x1_0.msmt17 -o README.md
    # Print the card of your own checkpoint with its measured scores
    reidhub card my.pth --receipt receipt.json
    """,
)
@click.argument("name", metavar="NAME-or-FILE", shell_complete=list_names_and_files)
@receipts_option
@architecture_option
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the card to this file.")
def command(name: str, *, receipts: tuple[Path, ...], architecture: str | None, output: Path | None) -> None:
    """Write the model card of a checkpoint: its page on a hub, as Markdown with a header in YAML.

    NAME-or-FILE is a checkpoint (osnet_x1_0.msmt17), a model (osnet_x1_0: its default checkpoint), a file of your own,
    or a folder that `reidhub publish` wrote. The card has the reported scores and, with receipts, the measured ones.
    """
    from reidhub.api import find_one
    from reidhub.cache.store import Cache
    from reidhub.exporters.model_card import read_measured, write_card
    from reidhub.files.atomic import explain_write_errors, write_text

    checkpoint = find_one(name, architecture=architecture)
    digest = checkpoint.artifact.digest or (Cache().read_pin(checkpoint.artifact) if receipts else None)
    card = write_card(checkpoint, read_measured(checkpoint, receipts, digest))
    if output is None:
        click.echo(card, nl=False)
        return
    with explain_write_errors(f"write the card {output}"):
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, card)
    click.echo(output)
