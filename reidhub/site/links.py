"""Reads what ``reidhub links --json`` printed: the state of each source, and when the source was asked."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from reidhub.errors import UsageError
from reidhub.files.regular_file import read_regular_file
from reidhub.files.strict_json import from_json
from reidhub.zoo.artifact import Source
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.hub_folder import LONGEST_TEXT

_LONGEST = 1 << 26  # bytes; the states of the zoo's sources have less than 1 MB
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_HINT = "`reidhub links --json > FILE` writes such a file"


@dataclass(frozen=True, slots=True)
class LinkState:
    """The state of one source, as ``reidhub links --json`` prints it.

    Args:
        kind: kind of the source.
        location: address of the source.
        host: name of the host.
        alive: True if the source has the file.
        size: bytes of the file at the source; None if unknown.
        reason: the problem; None if the source is alive.
        permanent: True if asking again cannot help.
        checked: when the source was asked, in UTC (ISO 8601); None if it was not asked.
    """

    kind: str
    location: str
    host: str
    alive: bool
    size: int | None
    reason: str | None
    permanent: bool
    checked: str | None

    def __post_init__(self) -> None:
        if len(self.reason or "") > LONGEST_TEXT:
            raise ValueError(f"a reason has more than {LONGEST_TEXT} characters")
        if self.checked is not None and datetime.strptime(self.checked, _TIME).strftime(_TIME) != self.checked:
            raise ValueError(f"a time is not written like 2026-11-27T18:00:00Z: {self.checked!r}")


@dataclass(frozen=True, slots=True)
class _Links:
    """One checkpoint in the output of ``reidhub links --json``."""

    name: str
    alive: bool
    size: int | None
    sources: tuple[LinkState, ...]


def read_links(path: Path, checkpoints: Iterable[Checkpoint]) -> dict[Source, LinkState]:
    """Read the states of the sources of the checkpoints.

    Raises:
        UsageError: the file cannot be read, is no output of ``reidhub links --json``, or has no source of any of the
            checkpoints.
    """
    try:
        links = from_json(tuple[_Links, ...], read_regular_file(path, _LONGEST))
    except OSError as error:
        raise UsageError(f"cannot read the list of links {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not a list of links: {str(error)[:200]}", hint=_HINT) from None
    states = {Source(state.kind, state.location): state for one in links for state in one.sources}
    known = {source for checkpoint in checkpoints for source in checkpoint.artifact.sources}
    if not states.keys() & known:
        raise UsageError(f"the list of links {path} has no source of a checkpoint of the zoo", hint=_HINT)
    return {source: state for source, state in states.items() if source in known}
