"""``reidhub mirror``: a folder of checkpoints for a web server or a shared disk."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from reidhub.cache.store import Cache
from reidhub.cli.commands.list import selected
from reidhub.cli.jobs import in_order
from reidhub.download.build_mirror import Mirror, Outcome
from reidhub.download.fetch import Resolver
from reidhub.download.progress import Progress
from reidhub.download.transfer import Terms
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import zoo


@click.command("mirror")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.argument("selectors", metavar="[SELECTOR]...", nargs=-1)
@click.option("-j", "--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="Files at once.")
@click.option("--json", "as_data", is_flag=True, help="A list of objects, for programs.")
def command(folder: Path, selectors: tuple[str, ...], *, jobs: int, as_data: bool) -> None:
    """Bring checkpoints into DIR, with an index and SHA256SUMS; print the path of each file that is there.

    Any static web server can serve DIR, and any machine that reaches it can name it, or its URL, in $REIDHUB_MIRROR.
    SELECTOR is a name (osnet_x1_0.msmt17), a model (osnet_x1_0: its default checkpoint) or a glob ('*.msmt17'); without
    one, every checkpoint. What DIR holds already is checked and left as it is. What cannot be had is listed on stderr,
    and the exit code is 1 then.
    """
    chosen = selected(selectors) if selectors else list(zoo().checkpoints)
    outcomes = []
    for outcome in _brought(folder, chosen, jobs):
        outcomes.append(outcome)
        if outcome.error:
            tqdm.write(f"error: {outcome.error}", file=sys.stderr)
        elif outcome.copy and not as_data:
            tqdm.write(str(folder / outcome.copy.file), file=sys.stdout)
    if as_data:
        click.echo(json.dumps([_as_json(outcome) for outcome in outcomes], indent=1))
    counts = Counter(outcome.state for outcome in outcomes)
    click.echo(f"{counts['written']} written, {counts['intact']} intact already, {counts['failed']} failed", err=True)
    if failed := [outcome.checkpoint.name for outcome in outcomes if outcome.error]:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        sys.exit(1)


def _brought(folder: Path, checkpoints: list[Checkpoint], jobs: int) -> Iterator[Outcome]:
    """How it went with each, in their order."""
    cache, terms = Cache(), Terms()
    with ExitStack() as stack:
        progress = stack.enter_context(closing(Progress(checkpoints)))
        stack.enter_context(logging_redirect_tqdm())
        mirror = stack.enter_context(Mirror(folder, cache, Resolver(cache, terms, progress)))

        def bring(checkpoint: Checkpoint) -> Outcome:
            try:
                return mirror.bring(checkpoint)
            finally:
                progress.finished(checkpoint)

        yield from in_order(bring, checkpoints, jobs, terms.stop)


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
