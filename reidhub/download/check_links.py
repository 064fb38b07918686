"""Which sources of which checkpoints are alive, asked of many hosts at once and of each one politely.

Nothing is downloaded: a source is asked what it would give, and its size is held to the manifest's.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Event, Lock
from urllib.parse import urlsplit

from reidhub.download.fetch import is_offline_by_environment
from reidhub.download.sources import name_host, probe
from reidhub.download.sources.patience import Patience
from reidhub.errors import SourceError
from reidhub.zoo.checkpoint import Artifact, Checkpoint, Source

LOOK = Patience(attempts=3, longest_pause_s=5.0, read_s=20.0, puzzle_s=20.0, total_s=60.0)
"""How long one source is asked."""

PER_HOST = 4  # questions at a time to one host
AT_ONCE = 32  # questions at a time to all of them


@dataclass(frozen=True, slots=True)
class Link:
    """A source of a checkpoint, and how it answered.

    Args:
        checkpoint: its name.
        source: where the bytes would come from.
        size: bytes of the file there, where the source tells.
        reason: why the file cannot be had there; None where it can.
        permanent: True where asking again cannot help.
        hint: what the user can do about the reason, where that is known.
    """

    checkpoint: str
    source: Source
    size: int | None = None
    reason: str | None = None
    permanent: bool = False
    hint: str | None = None

    @property
    def alive(self) -> bool:
        """True where the source would give a file of the right size."""
        return self.reason is None

    @property
    def host(self) -> str:
        """The host in the link; ``this machine`` for a local file."""
        return urlsplit(self.source.location).hostname or "this machine"


def ask(
    checkpoints: Iterable[Checkpoint], *, patience: Patience = LOOK, answered: Callable[[Link], object] = lambda _: None
) -> list[Link]:
    """Ask every source of the checkpoints; one `Link` each, in the manifest's order. Offline, no host is asked.

    Args:
        checkpoints: whose sources.
        patience: with each source.
        answered: called when an answer has come; one call at a time, from any thread.
    """
    questions = [(checkpoint, source) for checkpoint in checkpoints for source in checkpoint.artifact.sources]
    found: dict[int, Link] = {}
    patience, told = replace(patience, stop=Event()), Lock()

    def work(lane: list[int]) -> None:
        for number in lane:
            if patience.stop.is_set():
                return
            found[number] = _asked(*questions[number], patience)
            with told:
                answered(found[number])

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="reidhub-links") as pool:
        try:
            for _ in pool.map(work, _lanes([source for _, source in questions])):
                pass
        finally:  # Ctrl-C waits for the connections under way alone
            patience.stop.set()
    return [found[number] for number in range(len(questions))]


def _lanes(sources: list[Source]) -> list[list[int]]:
    """The sources' numbers in lists, each to be worked off one by one; for one host no more lists than `PER_HOST`."""
    by_host: defaultdict[str, list[int]] = defaultdict(list)
    for number, source in enumerate(sources):
        by_host[name_host(source)].append(number)
    return [numbers[start::PER_HOST] for numbers in by_host.values() for start in range(min(PER_HOST, len(numbers)))]


def _asked(checkpoint: Checkpoint, source: Source, patience: Patience) -> Link:
    if source.kind != "local" and is_offline_by_environment():
        return Link(checkpoint.name, source, reason="not asked: offline")
    try:
        size = probe(source, patience=patience)
    except SourceError as error:
        reason = " ".join(error.message.split())
        return Link(checkpoint.name, source, reason=reason, permanent=error.permanent, hint=error.hint)
    return Link(checkpoint.name, source, size, reason=_other_file(checkpoint.artifact, size))


def _other_file(artifact: Artifact, size: int | None) -> str | None:
    if artifact.size is None or size in (None, artifact.size):
        return None
    return f"another file: {size} bytes, not {artifact.size}"
