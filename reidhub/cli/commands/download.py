"""``reidhub download``: checkpoints come into the cache, and their paths to stdout."""

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
from reidhub.cli.describe import unpinned_notice
from reidhub.cli.jobs import in_order
from reidhub.cli.options import SELECTOR, jobs_option, json_option, select_checkpoints, selectors_argument
from reidhub.cli.tables import counted
from reidhub.download.fetch import Fetcher, FetchOptions
from reidhub.download.progress import Progress
from reidhub.errors import CancelledError, ReidhubError, UsageError
from reidhub.zoo.checkpoint import Checkpoint

Result = dict[str, str | int | None]


@click.command("download", epilog=SELECTOR)
@selectors_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Also put copies, well named, here."
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="original", help="As published, or safetensors.")
@jobs_option
@click.option("--source", "kind", type=click.Choice(["mega", "gdrive", "https", "local"]), help="Ask these alone.")
@click.option("--fresh", is_flag=True, help="Go on with nothing that an earlier run left.")
@click.option("--offline", is_flag=True, help="Open no socket, and say what is missing; so does REIDHUB_OFFLINE=1.")
@json_option
def command(
    selectors: tuple[str, ...], *, output: Path | None, form: str, jobs: int, as_data: bool, **options: Any
) -> None:
    """Download checkpoints into the cache and print their paths.

    Every file is checked by its sha256, or, if that is not known, by the MAC in its Mega link. Interrupted downloads
    resume. If $REIDHUB_MIRROR is set to a folder or a URL, it is asked first.
    """
    delivery, show = Delivery(output, form), None if as_data else _to(sys.stdout)
    results = _downloaded(select_checkpoints(selectors), jobs, delivery, FetchOptions(**options), show)
    if as_data:
        click.echo(json.dumps(results, indent=1))
    if failed := [str(result["name"]) for result in results if result["error"]]:
        click.echo(f"{len(failed)} of {counted(len(results), 'checkpoint')} failed: {', '.join(failed)}", err=True)
        sys.exit(1)


def _downloaded(
    checkpoints: list[Checkpoint],
    jobs: int,
    delivery: Delivery,
    options: FetchOptions,
    show: Callable[[str], None] | None,
) -> list[Result]:
    """Fetch all; each path is shown as soon as those before it are there."""
    results = []
    with closing(Progress(checkpoints)) as progress, logging_redirect_tqdm():
        fetcher = Fetcher(Cache(), options, progress)

        def download(checkpoint: Checkpoint) -> Result:
            try:
                return _download(checkpoint, fetcher, delivery)
            finally:
                progress.count_finished()

        for result in in_order(download, checkpoints, jobs, options.stop):
            results.append(result)
            if result["path"] and show:
                show(str(result["path"]))
    return results


def _download(checkpoint: Checkpoint, fetcher: Fetcher, delivery: Delivery) -> Result:
    result: Result = {"name": checkpoint.name, "path": None, "error": None}
    tell = _to(sys.stderr)
    for notice in (*checkpoint.notices, unpinned_notice(checkpoint)):
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


def _to(stream: Any) -> Callable[[str], None]:
    """Writes lines that do not run into the progress lines."""
    return lambda line: tqdm.write(line, file=stream)
