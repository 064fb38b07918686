"""``reidhub site``: build the explorer, a static site of all checkpoints."""

from pathlib import Path

import click

from reidhub.cli.examples import Command
from reidhub.cli.options import receipts_option
from reidhub.zoo.manifest import zoo

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    "site",
    cls=Command,
    examples="""
    # Write the site into the folder explorer
    reidhub site explorer
    # Add measured scores, and the states of the sources
    reidhub site explorer --receipt receipt.json --links links.json
    """,
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@receipts_option
@click.option("--links", metavar="FILE", type=_FILE, help="What `reidhub links --json` printed: the states of sources.")
@click.option("--docs", metavar="ADDRESS", help="A link to your documentation; relative to DIR, or https.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty; replace files of the same names.")
def command(folder: Path, *, receipts: tuple[Path, ...], links: Path | None, docs: str | None, force: bool) -> None:
    """Write a site that shows all checkpoints, and print the path of its start page.

    The site has a table that sorts and filters, plots, a page for each checkpoint with code to copy, and index.json for
    programs. It works from a disk and on any web server, and loads nothing from other hosts. DIR is empty or does not
    exist, or it has an earlier site, which is replaced.
    """
    from reidhub.site.content import Content
    from reidhub.site.write import write_site

    content = Content.read(zoo().checkpoints, receipts, links, docs)
    for note in content.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(write_site(content, folder, force=force))
