"""Shows progress lines of downloads, one for each file and one for the total, if stderr is a terminal."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from tqdm import tqdm

from reidhub.zoo.checkpoint import Checkpoint


class Progress:
    """Shows the progress lines of one run; many threads may use the same object.

    Args:
        checkpoints: all checkpoints to fetch; for two or more, a line shows the total.
    """

    def __init__(self, checkpoints: Iterable[Checkpoint] = ()) -> None:
        self._sizes = {checkpoint.name: checkpoint.artifact.size for checkpoint in checkpoints}
        self._lock = threading.Lock()
        self._done = 0
        self._total = _open_bar("total", None) if len(self._sizes) > 1 else None
        self._update_total()

    @contextmanager
    def open_line(
        self, checkpoint: Checkpoint, label: str, size: int | None, start: int
    ) -> Iterator[Callable[[int], None]]:
        """Show a progress line for the download of one file from one source, during the ``with`` block.

        Args:
            checkpoint: the checkpoint that the file belongs to.
            label: name of the source.
            size: bytes of the file; None if unknown.
            start: bytes of the file that an earlier run has already received.

        Yields:
            A function to call after each new chunk, with the number of its bytes.
        """
        with self._lock:
            self._sizes[checkpoint.name] = size
            self._update_total()
        bar = _open_bar(f"{checkpoint.name} from {label}", size, start)
        self._advance_total(start)
        counted = start

        def advance(count: int) -> None:
            nonlocal counted
            counted += count
            bar.update(count)
            self._advance_total(count)

        try:
            yield advance
        except BaseException:
            self._advance_total(-counted)  # the next source counts all its bytes again
            raise
        finally:
            bar.close()

    def count_finished(self) -> None:
        """Count one more checkpoint as finished, whether it was fetched or failed."""
        with self._lock:
            self._done += 1
            self._update_total()

    def close(self) -> None:
        """Remove the line with the total."""
        if self._total is not None:
            self._total.close()

    def _update_total(self) -> None:
        if self._total is not None:
            self._total.total = sum(size or 0 for size in self._sizes.values())
            self._total.set_description(f"{self._done} of {len(self._sizes)} files", refresh=False)

    def _advance_total(self, count: int) -> None:
        if self._total is not None:
            with self._lock:
                self._total.update(count)


def _open_bar(text: str, size: int | None, start: int = 0) -> "tqdm[NoReturn]":
    return tqdm(
        total=size,
        initial=start,
        desc=text,
        unit="B",
        unit_scale=True,
        unit_divisor=1000,
        disable=None,  # None: tqdm shows nothing if stderr is not a terminal
        leave=False,
        dynamic_ncols=True,
    )
