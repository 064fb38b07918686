"""``reidhub cache add``: add files that are already on this machine to the cache."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from reidhub.cache.import_files import Importer, ImportResult, list_files
from reidhub.cache.store import Cache
from reidhub.cli.examples import Command
from reidhub.cli.options import json_option
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import zoo


@click.command(
    "add",
    cls=Command,
    short_help="add files of this machine",
    examples="""
    # Add the files that torchreid has downloaded
    reidhub cache add ~/.cache/torch/checkpoints
    # Add a copy of one file
    reidhub cache add model.pth --copy
    """,
)
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, readable=False)
)
@click.option("--copy", is_flag=True, help="Copy the files instead of sharing their disk space by hard links.")
@json_option
def add(paths: tuple[Path, ...], *, copy: bool, as_data: bool) -> None:
    """Add files of this machine to the cache, such as torchreid's downloads in ~/.cache/torch/checkpoints.

    PATH is a file, or a folder; all files in a folder and its subfolders are examined. A file is recognised by its
    sha256 or by the MAC, the checksum in a Mega link. If neither is known for a checkpoint, its file is recognised by
    architecture, number of classes and the author's file name. The exit code is 1 if a file that you named is refused,
    or if all files are refused.
    """
    importer = Importer(Cache(), zoo().checkpoints, _by_tensors, link=not copy)
    results = []
    for file in dict.fromkeys(file for path in paths for file in list_files(path)):
        results.append(importer.add(file))
        if not as_data:
            click.echo(_format_line(results[-1]), err=results[-1].state == "refused")
    if as_data:
        click.echo(json.dumps([_make_json(result) for result in results], indent=1))
    refused = [result for result in results if result.state == "refused"]
    taken = sum(result.state == "added" for result in results)
    known = len(results) - len(refused) - taken
    if not results:
        click.echo(f"error: no file was found in {', '.join(map(str, paths))}", err=True)
    click.echo(f"{taken} added, {known} known already, {len(refused)} refused", err=True)
    if len(refused) == len(results) or any(result.path in paths for result in refused):
        sys.exit(1)


def _by_tensors(path: Path, checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    from reidhub.diagnosis.tensor_match import find_by_tensors  # imports torch

    return find_by_tensors(path, checkpoints)


def _format_line(result: ImportResult) -> str:
    if result.state == "refused":
        return f"refused  {result.path}: {result.reason}"
    how = {"sha256": "by its sha256", "mega-mac": "by its Mega MAC"}.get(str(result.checked_by), "by its tensors only")
    return f"{result.state:<7}  {result.path}: {', '.join(result.names)}, {how}{', linked' if result.linked else ''}"


def _make_json(result: ImportResult) -> dict[str, Any]:
    return {
        "path": str(result.path),
        "state": result.state,
        "names": list(result.names),
        "checked_by": result.checked_by,
        "linked": result.linked,
        "reason": result.reason,
    }
