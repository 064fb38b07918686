"""``reidhub cache``: list, check, fill and empty the folder of downloaded files."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from reidhub.cache.prune import (
    CheckedFile,
    Removal,
    StoredFile,
    check,
    find_leftovers,
    find_prunable,
    find_removal,
    list_stored,
)
from reidhub.cache.store import Cache
from reidhub.cli.commands.cache_add import add
from reidhub.cli.examples import Group
from reidhub.cli.options import (
    SELECTOR,
    json_option,
    parse_duration,
    parse_size,
    select_checkpoints,
    selectors_argument,
)
from reidhub.cli.tables import format_count, format_size, print_table
from reidhub.zoo.manifest import is_glob


@click.group(
    "cache",
    cls=Group,
    examples="""
    # Print what is in the cache
    reidhub cache list
    # Remove the files that were used least recently, and keep at most 2 GB
    reidhub cache prune --max-size 2GB
    """,
)
def command() -> None:
    """List, check, fill and empty the folder of downloaded files."""


command.add_command(add)


@command.command(
    "dir",
    short_help="print its path",
    examples="""
    # Print the path of the cache
    reidhub cache dir
    # Print it as JSON
    reidhub cache dir --json
    """,
)
@json_option
def folder(*, as_data: bool) -> None:
    """Print the path of the cache: $REIDHUB_HOME, or `reidhub` in torch's own cache folder."""
    root = Cache().root
    click.echo(json.dumps({"dir": str(root)}) if as_data else root)


@command.command(
    "list",
    short_help="list its files",
    examples="""
    # Print checkpoint, sha256, size and last use of each file
    reidhub cache list
    # Print the same as JSON
    reidhub cache list --json
    """,
)
@json_option
def list_(*, as_data: bool) -> None:
    """List every file in the cache, without checking the bytes of the files."""
    cache = Cache()
    files = list_stored(cache)
    if as_data:
        click.echo(json.dumps([_make_json(file) for file in files], indent=1))
    else:
        header = ("checkpoint", "sha256", "size", "checked by", "last used")
        print_table(header, [_make_row(file) for file in files], right=("size",))
    total = sum(file.size for file in files)
    click.echo(f"{format_count(len(files), 'file')}, {format_size(total)}, in {cache.root}", err=True)
    if rest := find_leftovers(cache):
        room = format_size(sum(removal.size for removal in rest))
        click.echo(f"{format_count(len(rest), 'left-over')}, {room}, for `reidhub cache prune` to remove", err=True)


@command.command(
    "check",
    short_help="hash every file again",
    examples="""
    # Check every file
    reidhub cache check
    # Check every file, and remove the broken ones
    reidhub cache check --remove
    """,
)
@click.option("--remove", is_flag=True, help="Remove the broken ones.")
@json_option
def check_(*, remove: bool, as_data: bool) -> None:
    """Check the sha256 of every file in the cache, and compare its conversions with it.

    The exit code is 1 if a file or a conversion is broken, or cannot be read.
    """
    results = list(check(list_stored(Cache()), _find_wrong_copies))
    wrong = [result for result in results if result.state != "intact"]
    removed = [result for result in wrong if remove and result.state == "broken"]
    for result in removed:
        result.removal.carry_out()
    if as_data:
        click.echo(json.dumps([_make_check_json(result, result in removed) for result in results], indent=1))
    else:
        for result in wrong:
            gone = ", removed" if result in removed else ""
            click.echo(f"{result.file.name}  {result.file.path}  {result.reason}{gone}")
    click.echo(f"{len(results) - len(wrong)} of {format_count(len(results), 'file')} intact", err=True)
    sys.exit(1 if wrong else 0)


@command.command(
    "prune",
    short_help="remove broken, unused or surplus files",
    examples="""
    # Print what would be removed
    reidhub cache prune --dry-run
    # Remove files that were not used for 30 days, and keep at most 2 GB
    reidhub cache prune --unused-since 30d --max-size 2GB
    """,
)
@click.option(
    "--unused-since",
    metavar="TIME",
    type=parse_duration,
    help="Also remove files not used for this long: 30d, 12h, 2w.",
)
@click.option(
    "--max-size",
    metavar="SIZE",
    type=parse_size,
    help="Also remove the least recently used files above this total: 2GB, 500MB.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@json_option
def prune(*, unused_since: int | None, max_size: int | None, dry_run: bool, as_data: bool) -> None:
    """Remove broken files, leftovers of interrupted runs, and models converted for another version of OpenVINO.

    Leftovers are removed when they are more than one hour old. --unused-since and --max-size also remove intact files.
    The time of a file's last use is recorded at most once a day.
    """
    found = find_prunable(Cache(), _find_wrong_copies, unused_since_s=unused_since, max_size=max_size)
    _carry_out(found, dry_run=dry_run, as_data=as_data)


@command.command(
    "remove",
    epilog=SELECTOR,
    short_help="remove the files of checkpoints",
    examples="""
    # Remove the file of a checkpoint
    reidhub cache remove osnet_x1_0.msmt17
    # Remove the files of all checkpoints that were trained on MSMT17
    reidhub cache remove '*.msmt17'
    """,
)
@selectors_argument
@click.option("--forget", is_flag=True, help="Also forget the sha256 that the first download of an unpinned file had.")
@json_option
def remove(selectors: tuple[str, ...], *, forget: bool, as_data: bool) -> None:
    """Remove the files of checkpoints, with their converted copies, from the cache."""
    cache, found = Cache(), []
    for checkpoint in select_checkpoints(selectors):
        if removal := find_removal(cache, checkpoint.artifact):
            found.append(removal)
        elif not any(map(is_glob, selectors)):
            click.echo(f"note: {checkpoint.name} is not in the cache", err=True)
        if forget:
            cache.remove_pin(checkpoint.artifact)
    _carry_out(found, dry_run=False, as_data=as_data)


def _find_wrong_copies(file: StoredFile) -> tuple[Path, ...]:
    from reidhub.inference.copy_check import find_wrong_copies  # imports torch

    return find_wrong_copies(file)


def _carry_out(removals: list[Removal], *, dry_run: bool, as_data: bool) -> None:
    for removal in removals:
        if not dry_run:
            removal.carry_out()
    if as_data:
        click.echo(json.dumps([_make_removal_json(removal, removed=not dry_run) for removal in removals], indent=1))
    else:
        for removal in removals:
            click.echo(f"{removal.name}  {removal.paths[0]}  {format_size(removal.size)}  {removal.reason}")
    room = format_size(sum(removal.size for removal in removals))
    click.echo(f"{len(removals)} {'to remove' if dry_run else 'removed'}, {room}", err=True)


def _make_row(file: StoredFile) -> tuple[str, ...]:
    checked_by = str(file.entry.checked_by) if file.entry else "?"
    return (
        file.name,
        file.digest.short,
        format_size(file.size),
        f"{checked_by}; changed since, will be hashed at the next use" if file.changed else checked_by,
        _format_time(file.last_used)[:10],
    )


def _make_json(file: StoredFile) -> dict[str, Any]:
    return {
        "name": file.entry.name if file.entry else None,
        "sha256": file.digest.hex,
        "size": file.size,
        "path": str(file.path),
        "checked_by": file.entry.checked_by if file.entry else None,
        "source": file.entry.source if file.entry else None,
        "last_used": _format_time(file.last_used),
        "changed": file.changed,
    }


def _make_check_json(result: CheckedFile, removed: bool) -> dict[str, Any]:
    own = {"state": result.state, "reason": result.reason, "removed": removed}
    return {"name": result.file.name, "sha256": result.file.digest.hex, "path": str(result.file.path), **own}


def _make_removal_json(removal: Removal, *, removed: bool) -> dict[str, Any]:
    own = {"size": removal.size, "reason": removal.reason, "removed": removed}
    return {"name": removal.name, "paths": [str(path) for path in removal.paths], **own}


def _format_time(seconds: float) -> str:
    """Format a time in ISO 8601, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
