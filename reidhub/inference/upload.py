"""Copies batches to a GPU while the GPU computes the previous batch."""

from collections import deque
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def upload_ahead(batches: Iterator[tuple[Tensor, T]], device: torch.device) -> Iterator[tuple[Tensor, T]]:
    """Copy the pixels of batches to a device; a GPU receives the next batch while it computes the current one.

    Args:
        batches: pairs of pixels and any other value.
        device: the device that gets the pixels.

    Yields:
        The pixels on the device, and the other value unchanged.
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
    """Let the GPU compute only after the pixels are copied; return the pixels and the other value."""
    current = torch.cuda.current_stream(pixels.device)
    current.wait_event(copied)
    pixels.record_stream(current)
    return pixels, rest
