"""``reidhub publish``: write a folder for a model hub."""

from pathlib import Path

import click

from reidhub.cli.candidates import list_names_and_files
from reidhub.cli.examples import Command
from reidhub.cli.options import architecture_option, receipts_option


@click.command(
    "publish",
    cls=Command,
    examples="""
    # Write a folder for a checkpoint of the zoo
    reidhub publish osnet_x1_0.msmt17 my-model
    # Write a folder for your own checkpoint, with its measured scores
    reidhub publish my.pth my-checkpoint --receipt receipt.json
    """,
)
@click.argument("name", metavar="NAME-or-FILE", shell_complete=list_names_and_files)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@receipts_option
@architecture_option
@click.option("--force", is_flag=True, help="Write into a folder that is not empty; replace files of the same names.")
def command(name: str, folder: Path, *, receipts: tuple[Path, ...], architecture: str | None, force: bool) -> None:
    """Write a folder for a model hub, and print its path; `hf upload ORG/NAME DIR` uploads it.

    NAME-or-FILE is a checkpoint (osnet_x1_0.msmt17), a model (osnet_x1_0: its default checkpoint) or a file of your
    own. The folder has the weights as safetensors, a config for reidhub, one for the package reid, the model card, and
    the licence. Python loads it with reidhub.load("DIR").
    """
    from reidhub.api import find_one
    from reidhub.exporters.hub_folder import publish

    click.echo(publish(find_one(name, architecture=architecture), folder, receipts, force=force))
