"""``reidhub pin``: print the manifest lines that record the sha256 of a file (pin the file)."""

import json
import sys
from dataclasses import dataclass
from typing import Any

import click

from reidhub.cache.records import Entry
from reidhub.cache.store import Cache
from reidhub.cli.examples import Command
from reidhub.cli.options import SELECTOR, json_option, select_checkpoints, selectors_argument
from reidhub.download.fetch import Fetcher
from reidhub.errors import ReidhubError, UsageError
from reidhub.files.digest import Digest
from reidhub.zoo.artifact import Grade
from reidhub.zoo.checkpoint import Checkpoint

_CHECKS = {
    "sha256": "sha256 of the manifest",
    "mega-mac": "content agrees with the MAC in the Mega link",
    "nothing": "checked by nothing",
}


@click.command(
    "pin",
    cls=Command,
    epilog=SELECTOR,
    examples="""
    # Print the lines for one checkpoint
    reidhub pin osnet_x1_0.msmt17
    # Print the facts about all checkpoints of a model as JSON
    reidhub pin 'osnet_x0_25.*' --json
    """,
)
@selectors_argument
@json_option
def command(selectors: tuple[str, ...], *, as_data: bool) -> None:
    """Print sha256, size and evidence of the checkpoints' files, as lines to paste into the manifest.

    Files that are not in the cache are downloaded. The evidence says how each file was checked.
    """
    cache = Cache()
    fetcher, pins, failed = Fetcher(cache), [], []
    for checkpoint in select_checkpoints(selectors):
        try:
            pin = _make_pin(checkpoint, cache, fetcher)
        except UsageError:
            raise
        except ReidhubError as error:
            click.echo(f"error: {error}", err=True)
            failed.append(checkpoint.name)
            continue
        pins.append(pin)
        if not as_data:
            click.echo(pin.lines)
        for note in pin.notes:
            click.echo(f"note: {checkpoint.name}: {note}", err=True)
    if as_data:
        click.echo(json.dumps([pin.as_json() for pin in pins], indent=1))
    if failed:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class _Pin:
    checkpoint: Checkpoint
    digest: Digest
    size: int
    origin: str

    @property
    def evidence(self) -> str:
        return f"{self.origin}; {_CHECKS[self.checkpoint.artifact.checked_by]}{self._describe_prefix()}"

    @property
    def grade(self) -> Grade | None:
        """The grade in the manifest; ``proven`` for a new pin if the file has the MAC of its Mega link, else None."""
        artifact = self.checkpoint.artifact
        return "proven" if artifact.checked_by == "mega-mac" else artifact.grade if artifact.pinned else None

    @property
    def lines(self) -> str:
        artifact = self.checkpoint.artifact
        evidence = artifact.evidence if artifact.pinned and artifact.evidence else self.evidence
        return "\n".join(
            [
                f"    # {self.checkpoint.name}: {self.checkpoint.manifest}",
                f"      sha256: {self.digest}",
                f"      size: {self.size}",
                *([f"      grade: {self.grade}"] if self.grade else []),
                f"      evidence: {json.dumps(evidence)}",
            ]
        )

    @property
    def notes(self) -> list[str]:
        artifact = self.checkpoint.artifact
        notes = ["is pinned already"] if artifact.pinned else []
        if artifact.checked_by == "nothing":
            notes.append("neither sha256 nor MAC is known; compare it with another person's download before you pin it")
        if self._agrees_with_prefix() is False:
            notes.append(f"the author's file name says sha256 {artifact.sha256_prefix}..., the file has {self.digest}")
        return notes

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.checkpoint.name,
            "manifest": self.checkpoint.manifest,
            "sha256": self.digest.hex,
            "size": self.size,
            "grade": self.grade,
            "evidence": self.evidence,
            "checked_by": self.checkpoint.artifact.checked_by,
            "agrees_with_prefix": self._agrees_with_prefix(),
            "pinned": self.checkpoint.artifact.pinned,
        }

    def _agrees_with_prefix(self) -> bool | None:
        """Return True if the sha256 starts with the digits in the author's file name; None if there are no digits.

        For example, the sha256 of ``resnet50-19c8e357.pth`` should start with 19c8e357.
        """
        prefix = self.checkpoint.artifact.sha256_prefix
        return None if prefix is None else self.digest.hex.startswith(prefix.lower())

    def _describe_prefix(self) -> str:
        agrees = self._agrees_with_prefix()
        return "" if agrees is None else f"; the digits in the author's file name {'agree' if agrees else 'differ'}"


def _make_pin(checkpoint: Checkpoint, cache: Cache, fetcher: Fetcher) -> _Pin:
    """Fetch a checkpoint's file and compute its sha256 again."""
    path = fetcher.fetch(checkpoint)
    digest = Digest.of_file(path)
    return _Pin(checkpoint, digest, path.stat().st_size, _describe_origin(checkpoint, cache.read_entry(digest)))


def _describe_origin(checkpoint: Checkpoint, entry: Entry | None) -> str:
    """Describe where a file in the cache came from, without any path or address of this user."""
    kinds = {source.location: source.kind for source in checkpoint.artifact.sources}
    kind = kinds.get(entry.source) if entry else None
    return "file of unknown origin" if kind is None else f"own download from {kind}"
