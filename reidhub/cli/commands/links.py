"""``reidhub links``: ask every source whether it still has its file."""

import json
import sys
from collections import defaultdict
from typing import Any

import click
from tqdm import tqdm

from reidhub.cli.examples import Command
from reidhub.cli.options import OPTIONAL_SELECTOR, json_option, optional_selectors_argument, select_checkpoints
from reidhub.cli.tables import format_count, format_size, print_table
from reidhub.download.check_links import LinkStatus, check_links
from reidhub.download.sources.patience import NO_NETWORK
from reidhub.zoo.checkpoint import Checkpoint


@click.command(
    "links",
    cls=Command,
    epilog=OPTIONAL_SELECTOR,
    examples="""
    # Ask the sources of a checkpoint
    reidhub links osnet_x1_0.msmt17
    # Write the state of the sources of a model to a file
    reidhub links 'osnet_x1_0.*' --json > links.json
    """,
)
@optional_selectors_argument
@json_option
def command(selectors: tuple[str, ...], *, as_data: bool) -> None:
    """Ask every source whether it still has its file and how large the file is; download nothing.

    A source is alive if it has the file, and if the file has the size that the manifest states. The exit code is 1 if a
    checkpoint has no source that is alive.
    """
    chosen = select_checkpoints(selectors)
    total = sum(len(checkpoint.artifact.sources) for checkpoint in chosen)
    with tqdm(total=total, desc="asking", unit=" sources", disable=None, leave=False) as bar:
        links = check_links(chosen, on_answer=lambda _: bar.update())
    by_name: defaultdict[str, list[LinkStatus]] = defaultdict(list)
    for link in links:
        by_name[link.checkpoint].append(link)
    dead = [name for name, own in by_name.items() if not any(link.alive for link in own)]
    if as_data:
        click.echo(json.dumps([_make_json(checkpoint, by_name[checkpoint.name]) for checkpoint in chosen], indent=1))
    else:
        header = ("checkpoint", "source", "host", "size", "state")
        print_table(header, [_make_row(link) for link in links], right=("size",))
    sources, checkpoints = format_count(len(links), "source"), format_count(len(chosen), "checkpoint")
    click.echo(f"{sum(link.alive for link in links)} of {sources} of {checkpoints} alive", err=True)
    if not dead:
        return
    if all(link.hint == NO_NETWORK for link in links):
        click.echo(f"no host could be asked: {NO_NETWORK}", err=True)
    else:
        click.echo(f"no living source: {', '.join(dead)}", err=True)
    sys.exit(1)


def _make_row(link: LinkStatus) -> tuple[str, ...]:
    size = format_size(link.size) if link.alive else ""
    return link.checkpoint, link.source.kind, link.host, size, link.reason or "alive"


def _make_json(checkpoint: Checkpoint, links: list[LinkStatus]) -> dict[str, Any]:
    return {
        "name": checkpoint.name,
        "alive": any(link.alive for link in links),
        "size": checkpoint.artifact.size,
        "sources": [
            {
                "kind": link.source.kind,
                "location": link.source.location,
                "host": link.host,
                "alive": link.alive,
                "size": link.size,
                "reason": link.reason,
                "permanent": link.permanent,
                "checked": link.checked_at.strftime("%Y-%m-%dT%H:%M:%SZ") if link.checked_at else None,
            }
            for link in links
        ],
    }
