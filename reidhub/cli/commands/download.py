"""``reidhub download``: download checkpoints into the cache and print their paths."""

import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from reidhub.cache.store import Cache
from reidhub.cli.delivery import FORMATS, Delivery
from reidhub.cli.examples import Command
from reidhub.cli.jobs import run_in_order
from reidhub.cli.options import (
    SELECTOR,
    folder_option,
    jobs_option,
    json_option,
    select_checkpoints,
    selectors_argument,
)
from reidhub.cli.tables import format_count
from reidhub.download.fetch import Fetcher, FetchOptions
from reidhub.download.progress import Progress
from reidhub.errors import CancelledError, ReidhubError, UsageError
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.describe import write_unpinned_notice

Result = dict[str, str | int | None]


@click.command(
    "download",
    cls=Command,
    epilog=SELECTOR,
    examples="""
    # Download a checkpoint, and print the path of its file
    reidhub download osnet_x1_0.msmt17
    # Download all checkpoints of a model, and copy them into a folder
    reidhub download 'osnet_x0_25.*' --output weights
    """,
)
@selectors_argument
@folder_option("-o", "--output", help="Also put a copy with the checkpoint's name into this folder.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="original",
    show_default=True,
    help="Format of the file.",
)
@jobs_option
@click.option(
    "--source", "kind", type=click.Choice(["mega", "gdrive", "https", "local"]), help="Ask only sources of this kind."
)
@click.option("--fresh", is_flag=True, help="Start again instead of resuming an interrupted download.")
@click.option("--offline", is_flag=True, help="Open no connection; REIDHUB_OFFLINE=1 does the same.")
@json_option
def command(
    selectors: tuple[str, ...], *, output: Path | None, form: str, jobs: int, as_data: bool, **options: Any
) -> None:
    """Download checkpoints into the cache and print their paths.

    Every file is checked by its sha256 or, if none is known, by the MAC, the checksum in its Mega link. A note on
    stderr names files without a known sha256. Interrupted downloads resume. If $REIDHUB_MIRROR is set to a folder or a
    URL, files are fetched from there if possible.
    """
    delivery, show = Delivery(output, form), None if as_data else _make_writer(sys.stdout)
    results = _download_all(select_checkpoints(selectors), jobs, delivery, FetchOptions(**options), show)
    if as_data:
        click.echo(json.dumps(results, indent=1))
    if failed := [str(result["name"]) for result in results if result["error"]]:
        click.echo(f"{len(failed)} of {format_count(len(results), 'checkpoint')} failed: {', '.join(failed)}", err=True)
        sys.exit(1)


def _download_all(
    checkpoints: list[Checkpoint],
    jobs: int,
    delivery: Delivery,
    options: FetchOptions,
    show: Callable[[str], None] | None,
) -> list[Result]:
    """Download all checkpoints; show each path as soon as its file and all files before it are downloaded."""
    results = []
    with closing(Progress(checkpoints)) as progress, logging_redirect_tqdm():
        fetcher = Fetcher(Cache(), options, progress)

        def download(checkpoint: Checkpoint) -> Result:
            try:
                return _download_one(checkpoint, fetcher, delivery)
            finally:
                progress.count_finished()

        for result in run_in_order(download, checkpoints, jobs, options.stop):
            results.append(result)
            if result["path"] and show:
                show(str(result["path"]))
    return results


def _download_one(checkpoint: Checkpoint, fetcher: Fetcher, delivery: Delivery) -> Result:
    result: Result = {"name": checkpoint.name, "path": None, "error": None}
    tell = _make_writer(sys.stderr)
    for notice in (*checkpoint.notices, write_unpinned_notice(checkpoint)):
        if notice:
            tell(f"note: {notice}")
    try:
        path = delivery.hand_out(checkpoint, fetcher.fetch(checkpoint))
    except (UsageError, CancelledError):
        raise
    except ReidhubError as error:
        tell(f"error: {error}")
        return {**result, "error": str(error)}
    return {**result, "path": str(path), "size": path.stat().st_size, "checked_by": checkpoint.artifact.checked_by}


def _make_writer(stream: Any) -> Callable[[str], None]:
    """Make a function that writes a line without disturbing the progress bars."""
    return lambda line: tqdm.write(line, file=stream)
