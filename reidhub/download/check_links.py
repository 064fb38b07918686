"""Check which sources of which checkpoints are alive: many hosts at once, and few questions at a time to each.

Nothing is downloaded: each source is asked whether it would send its file, and the size is compared with the manifest.
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

LINK_PATIENCE = Patience(attempts=3, longest_pause_s=5.0, read_s=20.0, puzzle_s=20.0, total_s=60.0)
"""The limits on one question."""

PER_HOST = 4  # questions at a time to one host
AT_ONCE = 32  # questions at a time to all of them


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """A source of a checkpoint, and its answer.

    Args:
        checkpoint: name of the checkpoint.
        source: where its bytes would come from.
        size: bytes of the file there, if the source tells.
        reason: why the source does not give the file; None if it does.
        permanent: True if asking again cannot help.
        hint: what the user can do, if that is known.
    """

    checkpoint: str
    source: Source
    size: int | None = None
    reason: str | None = None
    permanent: bool = False
    hint: str | None = None

    @property
    def alive(self) -> bool:
        """True if the source would give a file of the right size."""
        return self.reason is None

    @property
    def host(self) -> str:
        """The host in the link; ``this machine`` for a local file."""
        return urlsplit(self.source.location).hostname or "this machine"


def check_links(
    checkpoints: Iterable[Checkpoint],
    *,
    patience: Patience = LINK_PATIENCE,
    on_answer: Callable[[LinkStatus], object] = lambda _: None,
) -> list[LinkStatus]:
    """Ask every source of the checkpoints; offline, ask no host.

    Args:
        checkpoints: whose sources are asked.
        patience: limits on each question.
        on_answer: called with each answer; one call at a time, from any thread.

    Returns:
        One status for each source, in the manifest's order.
    """
    questions = [(checkpoint, source) for checkpoint in checkpoints for source in checkpoint.artifact.sources]
    found: dict[int, LinkStatus] = {}
    patience, lock = replace(patience, stop=Event()), Lock()

    def ask_in_turn(numbers: list[int]) -> None:
        for number in numbers:
            if patience.stop.is_set():
                return
            found[number] = _ask(*questions[number], patience)
            with lock:
                on_answer(found[number])

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="reidhub-links") as pool:
        try:
            for _ in pool.map(ask_in_turn, _split_by_host([source for _, source in questions])):
                pass
        finally:  # after Ctrl-C, only answers that are on their way are waited for
            patience.stop.set()
    return [found[number] for number in range(len(questions))]


def _split_by_host(sources: list[Source]) -> list[list[int]]:
    """Split the numbers of the sources into lists for one thread each; at most `PER_HOST` lists name the same host."""
    by_host: defaultdict[str, list[int]] = defaultdict(list)
    for number, source in enumerate(sources):
        by_host[name_host(source)].append(number)
    return [numbers[start::PER_HOST] for numbers in by_host.values() for start in range(min(PER_HOST, len(numbers)))]


def _ask(checkpoint: Checkpoint, source: Source, patience: Patience) -> LinkStatus:
    if source.kind != "local" and is_offline_by_environment():
        return LinkStatus(checkpoint.name, source, reason="not asked: offline")
    try:
        size = probe(source, patience=patience)
    except SourceError as error:
        reason = " ".join(error.message.split())
        return LinkStatus(checkpoint.name, source, reason=reason, permanent=error.permanent, hint=error.hint)
    return LinkStatus(checkpoint.name, source, size, reason=_compare_size(checkpoint.artifact, size))


def _compare_size(artifact: Artifact, size: int | None) -> str | None:
    """Return why the file is another one, as its size shows; None if it may be the right one."""
    if artifact.size is None or size in (None, artifact.size):
        return None
    return f"another file: {size} bytes, not {artifact.size}"
