"""``reidhub download``: checkpoints come into the cache, and their paths to stdout."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import click

from reidhub.cache import Cache
from reidhub.checkpoint import Checkpoint
from reidhub.cli.describe import unpinned_notice
from reidhub.cli.list import selected
from reidhub.errors import CacheError, ReidhubError
from reidhub.resolver import fetch


@click.command("download")
@click.argument("selectors", metavar="SELECTOR...", nargs=-1, required=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Also put copies, well named, here."
)
@click.option("--json", "as_data", is_flag=True, help="A list of objects, for programs.")
def command(selectors: tuple[str, ...], *, output: Path | None, as_data: bool) -> None:
    """Bring checkpoints into the cache and print where they are.

    SELECTOR is a name (osnet_x1_0.msmt17), a model (osnet_x1_0: its default checkpoint) or a glob ('osnet_x1_0.*').
    Every file is held to its sha256, or, where none is known, to the MAC in its Mega link.
    """
    results = []
    for checkpoint in selected(selectors):
        results.append(_download(checkpoint, output))
        if results[-1]["path"] and not as_data:
            click.echo(results[-1]["path"])
    if as_data:
        click.echo(json.dumps(results, indent=1))
    if failed := [result["name"] for result in results if result["error"]]:
        click.echo(f"{len(failed)} of {len(results)} checkpoints failed: {', '.join(map(str, failed))}", err=True)
        sys.exit(1)


def _download(checkpoint: Checkpoint, output: Path | None) -> dict[str, str | int | None]:
    result: dict[str, str | int | None] = {"name": checkpoint.name, "path": None, "error": None}
    for notice in (*checkpoint.notices, unpinned_notice(checkpoint)):
        if notice:
            click.echo(f"note: {notice}", err=True)
    try:
        path = fetch(checkpoint, Cache())
        shown = _copy(path, output, checkpoint.file_name) if output else path
    except ReidhubError as error:
        click.echo(f"error: {error}", err=True)
        return {**result, "error": str(error)}
    return {**result, "path": str(shown), "size": shown.stat().st_size, "checked_by": checkpoint.artifact.held_to}


def _copy(path: Path, folder: Path, name: str) -> Path:
    """A copy under its final name, or nothing."""
    target = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=".incoming-", dir=folder)
        os.close(handle)
        try:
            shutil.copyfile(path, partial)
            Path(partial).chmod(0o644)
            Path(partial).replace(target)
        finally:
            Path(partial).unlink(missing_ok=True)
    except OSError as error:
        raise CacheError(f"cannot write {target}: {error.strerror}") from error
    return target
