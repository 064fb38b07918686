"""``reidhub cache``: the folder of downloaded files."""

import json
import sys
import time
from typing import Any

import click

from reidhub.cache.prune import (
    CheckedFile,
    Removal,
    StoredFile,
    check,
    find_compiled_code,
    find_leftovers,
    find_prunable,
    find_removal,
    list_stored,
)
from reidhub.cache.store import Cache
from reidhub.cli.commands.cache_add import add
from reidhub.cli.options import (
    SELECTOR,
    json_option,
    parse_duration,
    parse_size,
    select_checkpoints,
    selectors_argument,
)
from reidhub.cli.tables import counted, human_size, print_table
from reidhub.zoo.manifest import is_glob


@click.group("cache")
def command() -> None:
    """List, check, fill and empty the folder of downloaded files."""


command.add_command(add)


@command.command("dir", short_help="print its path")
@json_option
def folder(*, as_data: bool) -> None:
    """Print the cache's folder: $REIDHUB_HOME, or `reidhub` in torch's own cache folder."""
    root = Cache().root
    click.echo(json.dumps({"dir": str(root)}) if as_data else root)


@command.command("list", short_help="what lies in it")
@json_option
def list_(*, as_data: bool) -> None:
    """Every file in the cache; nothing is hashed."""
    cache = Cache()
    files = list_stored(cache)
    if as_data:
        click.echo(json.dumps([_as_json(file) for file in files], indent=1))
    else:
        header = ("checkpoint", "sha256", "size", "held to", "last used")
        print_table(header, [_row(file) for file in files], right=("size",))
    total = sum(file.size for file in files)
    click.echo(f"{counted(len(files), 'file')}, {human_size(total)}, in {cache.root}", err=True)
    if rest := find_leftovers(cache):
        room = human_size(sum(removal.size for removal in rest))
        click.echo(f"{counted(len(rest), 'left-over')}, {room}, for `reidhub cache prune` to remove", err=True)
    for code in find_compiled_code(cache):
        click.echo(f"{code.name}, {human_size(code.size)}, for `reidhub cache prune --compiled` to remove", err=True)


@command.command("check", short_help="hash every file again")
@click.option("--remove", is_flag=True, help="Remove the broken ones.")
@json_option
def check_(*, remove: bool, as_data: bool) -> None:
    """Hash every file again; exit code 1 where one is broken or cannot be read."""
    results = list(check(list_stored(Cache())))
    wrong = [result for result in results if result.state != "intact"]
    removed = [result for result in wrong if remove and result.state == "broken"]
    for result in removed:
        result.removal.carry_out()
    if as_data:
        click.echo(json.dumps([_checked_json(result, result in removed) for result in results], indent=1))
    else:
        for result in wrong:
            gone = ", removed" if result in removed else ""
            click.echo(f"{result.file.name}  {result.file.path}  {result.reason}{gone}")
    click.echo(f"{len(results) - len(wrong)} of {counted(len(results), 'file')} intact", err=True)
    sys.exit(1 if wrong else 0)


@command.command("prune", short_help="remove what is broken, unused or too much")
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
@click.option(
    "--compiled", "code", is_flag=True, help="Also the code that embedders keep; the next use compiles again."
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@json_option
def prune(*, unused_since: int | None, max_size: int | None, code: bool, dry_run: bool, as_data: bool) -> None:
    """Remove broken files and what runs that were cut short have left; on demand, more.

    A download that was cut short more than an hour ago counts as left over. The last use of a file is noted once a day.
    """
    found = find_prunable(Cache(), unused_since_s=unused_since, max_size=max_size)
    _removed([*found, *(find_compiled_code(Cache()) if code else [])], dry_run=dry_run, as_data=as_data)


@command.command("remove", epilog=SELECTOR, short_help="remove the files of checkpoints")
@selectors_argument
@click.option("--forget", is_flag=True, help="Of unpinned files, also forget which sha256 the first download had.")
@json_option
def remove(selectors: tuple[str, ...], *, forget: bool, as_data: bool) -> None:
    """Remove the files of checkpoints and their converted copies."""
    cache, found = Cache(), []
    for checkpoint in select_checkpoints(selectors):
        if removal := find_removal(cache, checkpoint.artifact):
            found.append(removal)
        elif not any(map(is_glob, selectors)):
            click.echo(f"note: {checkpoint.name} is not in the cache", err=True)
        if forget:
            cache.remove_pin(checkpoint.artifact)
    _removed(found, dry_run=False, as_data=as_data)


def _removed(removals: list[Removal], *, dry_run: bool, as_data: bool) -> None:
    for removal in removals:
        if not dry_run:
            removal.carry_out()
    if as_data:
        click.echo(json.dumps([_removal_json(removal, removed=not dry_run) for removal in removals], indent=1))
    else:
        for removal in removals:
            click.echo(f"{removal.name}  {removal.paths[0]}  {human_size(removal.size)}  {removal.reason}")
    room = human_size(sum(removal.size for removal in removals))
    click.echo(f"{len(removals)} {'to remove' if dry_run else 'removed'}, {room}", err=True)


def _row(file: StoredFile) -> tuple[str, ...]:
    held = str(file.entry.checked_by) if file.entry else "?"
    return (
        file.name,
        file.digest.short,
        human_size(file.size),
        f"{held}; changed since, hashed at its next use" if file.changed else held,
        _moment(file.last_used)[:10],
    )


def _as_json(file: StoredFile) -> dict[str, Any]:
    return {
        "name": file.entry.name if file.entry else None,
        "sha256": file.digest.hex,
        "size": file.size,
        "path": str(file.path),
        "checked_by": file.entry.checked_by if file.entry else None,
        "source": file.entry.source if file.entry else None,
        "last_used": _moment(file.last_used),
        "changed": file.changed,
    }


def _checked_json(result: CheckedFile, removed: bool) -> dict[str, Any]:
    own = {"state": result.state, "reason": result.reason, "removed": removed}
    return {"name": result.file.name, "sha256": result.file.digest.hex, "path": str(result.file.path), **own}


def _removal_json(removal: Removal, *, removed: bool) -> dict[str, Any]:
    own = {"size": removal.size, "reason": removal.reason, "removed": removed}
    return {"name": removal.name, "paths": [str(path) for path in removal.paths], **own}


def _moment(seconds: float) -> str:
    """ISO 8601, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
