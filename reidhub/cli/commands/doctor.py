"""``reidhub doctor``: find out what a file is, and why it does not load."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reidhub.cli.examples import Command
from reidhub.cli.options import json_option
from reidhub.cli.tables import print_fields
from reidhub.errors import WeightsError

if TYPE_CHECKING:
    from reidhub.diagnosis import Diagnosis


@click.command(
    "doctor",
    cls=Command,
    examples="""
    # Find out what a file is
    reidhub doctor my.pth
    # Write a manifest with an entry for a file
    reidhub doctor my.pth --manifest > mine.yaml
    """,
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--manifest", "as_manifest", is_flag=True, help="Print a manifest with an entry for each FILE.")
@json_option
def command(files: tuple[Path, ...], *, as_manifest: bool, as_data: bool) -> None:
    """Find out what checkpoint files are, and why they do not load.

    The command examines only bytes, names and shapes; it runs no code from a file. The exit code is 0 if every FILE
    loads as an architecture of the zoo, else 1. With --manifest, it is 0 if every FILE has an entry that loads it.
    """
    from reidhub.diagnosis import doctor

    if as_manifest and as_data:
        raise click.UsageError("--manifest prints YAML, so it cannot be used with --json")
    found, unread = [], []
    for file in files:
        try:
            found.append(doctor(file))
        except WeightsError as error:
            unread.append(error)
    if as_manifest:
        _print_manifest(found)
    elif as_data:
        click.echo(json.dumps([{**asdict(one), "loadable": one.loadable} for one in found], indent=1))
    else:
        for place, one in enumerate(found):
            if place:
                click.echo()
            hints = [f"hint: {one.hint}"] if one.hint else []
            print_fields(one.path, list(_list_fields(one)), [*(f"note: {note}" for note in one.notes), *hints])
    for reason in unread:
        click.echo(f"error: {reason}", err=True)
    sys.exit(1 if unread or not all(one.layout if as_manifest else one.loadable for one in found) else 0)


def _print_manifest(found: "list[Diagnosis]") -> None:
    """Print a manifest with an entry for each file that an entry loads, and an error for each other file."""
    from reidhub.diagnosis.manifest_entry import write_manifest

    if described := [one for one in found if one.layout]:
        click.echo(write_manifest(described), nl=False)
    for one in found:
        if not one.layout:
            error = WeightsError(f"no entry loads {one.path}: {one.problem}", hint=one.hint)
            click.echo(f"error: {error}", err=True)


def _list_fields(found: "Diagnosis") -> Iterator[tuple[str, str]]:
    from reidhub.diagnosis import FORMATS
    from reidhub.diagnosis.exported import list_facts

    yield "format", f"{FORMATS[found.format]}; {found.size:,} bytes"
    yield "sha256", found.sha256
    if not found.export:
        known = (
            f"{', '.join(found.entries)}, by its {_BY[found.known_by]}" if found.known_by else "none has these bytes"
        )
        yield "checkpoint", known
    if found.wrapping:
        where = f"under the key {found.wrapping.root!r}" if found.wrapping.root else "not under a key"
        before = f", {found.wrapping.prefix!r} before every name" if found.wrapping.prefix else ""
        layout = f", in the layout {found.named_layout}" if found.named_layout else ""
        yield "tensors", f"{found.tensors}, {where}{before}{layout}"
    if found.export:
        yield from list_facts(found.export).items()
    if found.tensors:
        near = f"none; the most similar is {found.nearest}" if found.nearest else "none of the zoo"
        yield "architecture", " or ".join((found.architecture, *found.twins)) if found.architecture else near
        sets = " or ".join(found.training_sets) or "no training set of the zoo"
        yield "classes", f"{found.num_classes}: {sets}" if found.num_classes else "no classifier"
    if found.candidates:
        yield "could be", ", ".join(found.candidates)
    yes = f"yes, as one of them: architecture={found.architecture!r}" if found.twins else "yes"
    yield "loads", yes if found.loadable else f"no: {found.problem}"


_BY = {"sha256": "sha256", "mega-mac": "MAC, which is that in its Mega link"}
