"""Copying batches to a GPU while it computes the batch before."""

from collections import deque
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def upload_ahead(batches: Iterator[tuple[Tensor, T]], device: torch.device) -> Iterator[tuple[Tensor, T]]:
    """Copy the pixels of batches to a device; a GPU receives the next batch while it computes this one.

    Args:
        batches: pixels, and anything that goes with them.
        device: where the pixels are needed.

    Yields:
        The pixels on the device, and what goes with them.
    """
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
            yield _wait_for_upload(*waiting.popleft())
    while waiting:
        yield _wait_for_upload(*waiting.popleft())


def _wait_for_upload(pixels: Tensor, rest: T, copied: torch.cuda.Event) -> tuple[Tensor, T]:
    """Make the stream that computes wait until the pixels are copied."""
    current = torch.cuda.current_stream(pixels.device)
    current.wait_event(copied)
    pixels.record_stream(current)
    return pixels, rest
