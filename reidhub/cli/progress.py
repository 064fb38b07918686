"""Shows the progress of long work on stderr: a bar on a terminal, and an occasional line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from tqdm import tqdm

_LINE_S = 30.0  # seconds between two lines


@contextmanager
def show_images(name: str, total: int, done: int = 0) -> Iterator[Callable[[int], object]]:
    """Show the progress of work on images during the ``with`` block: speed, and the time that is left.

    Args:
        name: the work, such as ``embed``.
        total: number of images.
        done: number of images that were done before the block; they do not count for the speed.

    Yields:
        A function to call with the number of images that were done.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, initial=done, unit=" images", desc=name, leave=False, dynamic_ncols=True) as bar:
            yield bar.update
        return
    start = shown = time.monotonic()
    finished = done

    def advance(count: int) -> None:
        nonlocal finished, shown
        finished += count
        now = time.monotonic()
        if now - shown >= _LINE_S:
            shown = now
            speed = (finished - done) / (now - start)
            left = tqdm.format_interval((total - finished) / speed) if speed else "?"
            click.echo(f"{name}: {finished:,} of {total:,} images, {speed:.0f} images/s, {left} left", err=True)

    yield advance
