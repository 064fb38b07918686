"""What a user sees of downloads: a line for each file and one for all, on stderr where that is a terminal."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from tqdm import tqdm

from reidhub.zoo.checkpoint import Checkpoint


class Progress:
    """The lines of one run; safe to use from many threads.

    Args:
        checkpoints: all that will be asked for; from two on there is a line for their total.
    """

    def __init__(self, checkpoints: Iterable[Checkpoint] = ()) -> None:
        self._sizes = {checkpoint.name: checkpoint.artifact.size for checkpoint in checkpoints}
        self._lock = threading.Lock()
        self._done = 0
        self._total = _bar("total", None) if len(self._sizes) > 1 else None
        self._retotal()

    @contextmanager
    def line(self, checkpoint: Checkpoint, label: str, size: int | None, held: int) -> Iterator[Callable[[int], None]]:
        """A line for one file from one source.

        Args:
            checkpoint: the file's.
            label: of the source.
            size: bytes, where known.
            held: bytes of it that are there already.

        Yields:
            To be called with the number of bytes that came.
        """
        with self._lock:
            self._sizes[checkpoint.name] = size
            self._retotal()
        bar = _bar(f"{checkpoint.name} from {label}", size, held)
        self._advance(held)
        counted = held

        def advance(count: int) -> None:
            nonlocal counted
            counted += count
            bar.update(count)
            self._advance(count)

        try:
            yield advance
        except BaseException:
            self._advance(-counted)  # another source, or none, begins again
            raise
        finally:
            bar.close()

    def finished(self, checkpoint: Checkpoint) -> None:
        """One checkpoint is through, well or not."""
        with self._lock:
            self._done += 1
            self._retotal()

    def close(self) -> None:
        """Take the lines away."""
        if self._total is not None:
            self._total.close()

    def _retotal(self) -> None:
        if self._total is not None:
            self._total.total = sum(size or 0 for size in self._sizes.values())
            self._total.set_description(f"{self._done} of {len(self._sizes)} files", refresh=False)

    def _advance(self, count: int) -> None:
        if self._total is not None:
            with self._lock:
                self._total.update(count)


def _bar(text: str, size: int | None, held: int = 0) -> "tqdm[NoReturn]":
    return tqdm(
        total=size,
        initial=held,
        desc=text,
        unit="B",
        unit_scale=True,
        unit_divisor=1000,
        disable=None,  # where stderr is no terminal
        leave=False,
        dynamic_ncols=True,
    )
