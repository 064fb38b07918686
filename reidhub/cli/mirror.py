"""``reidhub mirror``: a folder of checkpoints for a web server or a shared disk."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from reidhub.cache import Cache
from reidhub.cli.list import selected
from reidhub.manifest import zoo
from reidhub.mirroring import Outcome, mirror


@click.command("mirror")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.argument("selectors", metavar="[SELECTOR]...", nargs=-1)
@click.option("--json", "as_data", is_flag=True, help="A list of objects, for programs.")
def command(folder: Path, selectors: tuple[str, ...], *, as_data: bool) -> None:
    """Bring checkpoints into DIR, with an index and SHA256SUMS; print the path of each file that is there.

    Any static web server can serve DIR, and any machine that reaches it can name it, or its URL, in $REIDHUB_MIRROR.
    SELECTOR is a name (osnet_x1_0.msmt17), a model (osnet_x1_0: its default checkpoint) or a glob ('*.msmt17'); without
    one, every checkpoint. What DIR holds already is checked and left as it is. What cannot be had is listed on stderr,
    and the exit code is 1 then.
    """

    def told(outcome: Outcome) -> None:
        if outcome.error:
            click.echo(f"error: {outcome.error}", err=True)
        elif outcome.copy and not as_data:
            click.echo(folder / outcome.copy.file)

    outcomes = mirror(folder, selected(selectors) if selectors else zoo().checkpoints, Cache(), told)
    if as_data:
        click.echo(json.dumps([_as_json(outcome) for outcome in outcomes], indent=1))
    counts = Counter(outcome.state for outcome in outcomes)
    click.echo(f"{counts['written']} written, {counts['intact']} intact already, {counts['failed']} failed", err=True)
    if failed := [outcome.checkpoint.name for outcome in outcomes if outcome.error]:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        sys.exit(1)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    copy = outcome.copy
    return {
        "name": outcome.checkpoint.name,
        "file": outcome.checkpoint.file_name,
        "state": outcome.state,
        "sha256": copy.sha256 if copy else None,
        "size": copy.size if copy else None,
        "checked_by": copy.checked_by if copy else None,
        "error": outcome.error,
    }
