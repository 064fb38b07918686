"""``reidhub mirror``: fill a folder with checkpoints for a web server or a shared disk."""

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
from reidhub.cli.examples import Command
from reidhub.cli.jobs import run_in_order
from reidhub.cli.options import (
    OPTIONAL_SELECTOR,
    jobs_option,
    json_option,
    optional_selectors_argument,
    select_checkpoints,
)
from reidhub.download.build_mirror import Mirror, Outcome
from reidhub.download.fetch import Fetcher, FetchOptions
from reidhub.download.progress import Progress
from reidhub.zoo.checkpoint import Checkpoint


@click.command(
    "mirror",
    cls=Command,
    epilog=OPTIONAL_SELECTOR,
    examples="""
    # Fill the folder of a web server with every checkpoint of a model
    reidhub mirror /srv/reidhub 'osnet_x1_0.*'
    # Fill a folder with two checkpoints, for a machine without internet
    reidhub mirror mirror osnet_x1_0.msmt17 osnet_x0_25.msmt17
    """,
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@optional_selectors_argument
@jobs_option
@json_option
def command(folder: Path, selectors: tuple[str, ...], *, jobs: int, as_data: bool) -> None:
    """Fill DIR with checkpoints, an index and SHA256SUMS, and print the path of each file.

    Any static web server can serve DIR. On other machines, set $REIDHUB_MIRROR to the path or URL of DIR. Files that
    are already in DIR are checked; intact files are kept. Checkpoints that cannot be downloaded are listed on stderr;
    the exit code is then 1. For more, see the docs, page Mirrors and offline machines.
    """
    outcomes = []
    for outcome in _fill_mirror(folder, select_checkpoints(selectors), jobs):
        outcomes.append(outcome)
        if outcome.error:
            tqdm.write(f"error: {outcome.error}", file=sys.stderr)
        elif outcome.entry and not as_data:
            tqdm.write(str(folder / outcome.entry.file), file=sys.stdout)
    if as_data:
        click.echo(json.dumps([_make_json(outcome) for outcome in outcomes], indent=1))
    counts = Counter(outcome.state for outcome in outcomes)
    click.echo(f"{counts['written']} written, {counts['intact']} intact already, {counts['failed']} failed", err=True)
    if failed := [outcome.checkpoint.name for outcome in outcomes if outcome.error]:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        sys.exit(1)


def _fill_mirror(folder: Path, checkpoints: list[Checkpoint], jobs: int) -> Iterator[Outcome]:
    """Add each checkpoint to the mirror folder, and yield the results in the order of the checkpoints."""
    cache, options = Cache(), FetchOptions()
    with ExitStack() as stack:
        progress = stack.enter_context(closing(Progress(checkpoints)))
        stack.enter_context(logging_redirect_tqdm())
        mirror = stack.enter_context(Mirror(folder, cache, Fetcher(cache, options, progress)))

        def add(checkpoint: Checkpoint) -> Outcome:
            try:
                return mirror.add(checkpoint)
            finally:
                progress.count_finished()

        yield from run_in_order(add, checkpoints, jobs, options.stop)


def _make_json(outcome: Outcome) -> dict[str, Any]:
    entry = outcome.entry
    return {
        "name": outcome.checkpoint.name,
        "file": outcome.checkpoint.file_name,
        "state": outcome.state,
        "sha256": entry.sha256 if entry else None,
        "size": entry.size if entry else None,
        "checked_by": entry.checked_by if entry else None,
        "error": outcome.error,
    }
