"""Batches on their way to a GPU while it computes the one before."""

from collections import deque
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def upload_ahead(batches: Iterator[tuple[Tensor, T]], device: torch.device) -> Iterator[tuple[Tensor, T]]:
    """Pixels, with what goes with them, on the device; a GPU receives the next ones while it computes."""
    if device.type != "cuda":
        yield from batches
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    waiting: deque[tuple[Tensor, T, torch.cuda.Event]] = deque()
    for pixels, rest in batches:
        with torch.cuda.stream(stream):
            uploading = pixels.pin_memory().to(device, non_blocking=True)
        waiting.append((uploading, rest, stream.record_event()))
        if len(waiting) > 1:
            yield _arrived(*waiting.popleft())
    while waiting:
        yield _arrived(*waiting.popleft())


def _arrived(pixels: Tensor, rest: T, there: torch.cuda.Event) -> tuple[Tensor, T]:
    """The same, once the stream that computes may read the pixels."""
    current = torch.cuda.current_stream(pixels.device)
    current.wait_event(there)
    pixels.record_stream(current)
    return pixels, rest
