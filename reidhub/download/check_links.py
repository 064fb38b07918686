"""Check which sources of checkpoints still offer their files.

No file is downloaded. Each source is asked whether it would send its file. If the source tells the size of the file,
this size is compared with the size in the manifest. Up to `AT_ONCE` sources are asked at the same time, but at most
`PER_HOST` of one host.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Event, Lock
from urllib.parse import urlsplit

from reidhub.download.fetch import is_offline_by_environment
from reidhub.download.sources import name_host, probe
from reidhub.download.sources.patience import Patience
from reidhub.errors import SourceError
from reidhub.zoo.artifact import Artifact, Source
from reidhub.zoo.checkpoint import Checkpoint

LINK_PATIENCE = Patience(attempts=3, longest_pause_s=5.0, read_s=20.0, puzzle_s=20.0, total_s=60.0)
"""Limits on attempts and time for the check of one source."""

PER_HOST = 4  # most sources of one host that are checked at the same time
AT_ONCE = 32  # most sources of all hosts that are checked at the same time


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """The result of the check of one source.

    Args:
        checkpoint: name of the checkpoint.
        source: the source that was checked.
        size: bytes of the file at the source; None if unknown.
        reason: the problem: the source does not offer the file, offers a file of the wrong size, or was not asked;
            None if there is no problem.
        permanent: True if another attempt cannot help.
        hint: what the user can do; None if unknown.
        checked_at: when the source answered or failed, in UTC; None if it was not asked.
    """

    checkpoint: str
    source: Source
    size: int | None = None
    reason: str | None = None
    permanent: bool = False
    hint: str | None = None
    checked_at: datetime | None = None

    @property
    def alive(self) -> bool:
        """True if the source offers the file, and the size is right or unknown."""
        return self.reason is None

    @property
    def host(self) -> str:
        """The host name in the source's URL; ``this machine`` for a local file."""
        return urlsplit(self.source.location).hostname or "this machine"


def check_links(
    checkpoints: Iterable[Checkpoint],
    *,
    patience: Patience = LINK_PATIENCE,
    on_answer: Callable[[LinkStatus], object] = lambda _: None,
) -> list[LinkStatus]:
    """Check every source of the checkpoints.

    If ``$REIDHUB_OFFLINE`` is set, reidhub sends no requests. It then checks only the sources of kind ``local``, and
    all others get the reason ``not asked: offline``.

    Args:
        checkpoints: the checkpoints to check.
        patience: limits on attempts and time for the check of each source.
        on_answer: called with each result as soon as it is known. The calls come from several threads, but never two
            at the same time.

    Returns:
        One status for each source, in the order of the checkpoints and of their sources in the manifest.
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
        finally:  # after Ctrl-C, running checks end early, and no further check starts
            patience.stop.set()
    return [found[number] for number in range(len(questions))]


def _split_by_host(sources: list[Source]) -> list[list[int]]:
    """Divide ``sources`` into groups. The sources of one group have the same host and are checked one after another.

    Returns:
        For each group, the indices of its sources. A host has at most `PER_HOST` groups.
    """
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
        status = LinkStatus(checkpoint.name, source, reason=reason, permanent=error.permanent, hint=error.hint)
    else:
        status = LinkStatus(checkpoint.name, source, size, reason=_compare_size(checkpoint.artifact, size))
    return replace(status, checked_at=datetime.now(UTC))


def _compare_size(artifact: Artifact, size: int | None) -> str | None:
    """Return a message about a wrong size; None if the size is right or unknown."""
    if artifact.size is None or size in (None, artifact.size):
        return None
    return f"another file: {size} bytes, not {artifact.size}"
