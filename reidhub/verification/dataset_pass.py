"""One pass over the images of a dataset: each image is decoded once, and every model embeds it.

If there is memory for all models, they stay ready during the whole pass. If not, the models are split into groups, and
up to 64 decoded batches are kept in memory. Each group in turn is moved to the GPU, or compiled for the CPU, and embeds
these batches. Then the next batches are decoded. So each image is decoded only once in this case too.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from reidhub.inference import upload_ahead
from reidhub.inference.images import load_batches
from reidhub.inference.preprocess import PixelSpec
from reidhub.verification.movable_embedder import ModelSource, MovableEmbedder
from reidhub.verification.settings import Settings

_CHUNK = 64  # batches kept in memory if there are several groups: 1.6 GB for batches of 256 images of 256x128
_MEMORY_SHARE = 0.5  # share of a GPU's free memory for weights; the rest is for activations
_CPU_MEMORY = 2_000_000_000  # bytes for the compiled models of a group

Batch = tuple[Tensor, int]
"""uint8 pixels (N, 3, H, W), and the index of the first of these images in the dataset."""


class Rows(Protocol):
    """Where the rows of a model go; a `RowLog` on the disk, or memory."""

    rows: int

    @property
    def complete(self) -> bool:
        """True if no row is missing."""

    def append(self, rows: Tensor) -> None:
        """Add the rows of the next batch, float32 (n, D)."""


@dataclass(frozen=True, slots=True)
class PassMember:
    """A model that takes part in a pass.

    Args:
        embedder: the model.
        log: the place for its embeddings or best classes, one row per image.
        source: what the model is made from; None if it can only be used here.
    """

    embedder: MovableEmbedder
    log: Rows
    source: ModelSource | None = None


@dataclass(frozen=True, slots=True)
class DatasetPass:
    """One pass over the images of a dataset, all resized in one way.

    Args:
        paths: the image files. Row i of each member's file belongs to ``paths[i]``.
        pixels: how images are resized. Its mean and std are ignored: each member uses its own.
        members: the models that embed the images.
        stay_ready: True to keep the models ready for the next pass, if there is memory for all.
    """

    paths: Sequence[Path]
    pixels: PixelSpec
    members: Sequence[PassMember]
    stay_ready: bool = False

    @property
    def start(self) -> int:
        """Number of images at the start of the dataset that every member has embedded already."""
        return min((member.log.rows for member in self.members), default=len(self.paths))

    def run(self, settings: Settings, advance: Callable[[int], object]) -> None:
        """Embed the images that some members have not embedded yet.

        Args:
            settings: device, batch size and number of workers.
            advance: called after each batch with its number of images.

        Raises:
            DatasetError: an image cannot be decoded.
            CacheError: the rows cannot be written.
            torch.OutOfMemoryError: the GPU has too little memory for a batch.
        """
        groups = _group_by_memory([m for m in self.members if not m.log.complete], settings.device)
        for chunk in _split(self._read_batches(settings), chunked=len(groups) > 1):
            for group in groups:
                with _on_device(group, settings.device, rest=len(groups) > 1 or not self.stay_ready):
                    for pixels, first in upload_ahead(iter(chunk), settings.device):
                        _embed(group, pixels, first)
                        if group is groups[-1]:
                            advance(len(pixels))

    def _read_batches(self, settings: Settings) -> Iterator[Batch]:
        start = self.start
        for pixels, places in load_batches(self.paths[start:], self.pixels, settings.batch_size, settings.workers):
            yield pixels, start + int(places[0])


RunPass = Callable[[DatasetPass, Settings, Callable[[int], object]], None]
"""A function that does what `DatasetPass.run` does, with the same arguments and errors."""


def _group_by_memory(members: Sequence[PassMember], device: torch.device) -> list[list[PassMember]]:
    """Group the members so that each group fits into half of the free GPU memory, or on a CPU into 2 GB."""
    room = _MEMORY_SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _CPU_MEMORY
    groups: list[list[PassMember]] = []
    used = 0.0
    for member in members:
        needed = member.embedder.estimate_memory(device)
        used += needed
        if not groups or used > room:
            groups.append([])
            used = needed
        groups[-1].append(member)
    return groups


def _split(batches: Iterator[Batch], *, chunked: bool) -> Iterator[Iterable[Batch]]:
    """Yield the batches in parts; all groups of models embed one part before the next part is read.

    Args:
        batches: all batches.
        chunked: True for several groups: each part is a list of up to 64 batches, which every group can read. False for
            one group: the only part is the iterator ``batches`` itself, so no batches are kept in memory.
    """
    if not chunked:
        yield batches
        return
    while chunk := list(islice(batches, _CHUNK)):
        yield chunk


@contextmanager
def _on_device(group: Sequence[PassMember], device: torch.device, *, rest: bool) -> Iterator[None]:
    """Keep the models of a group on the device during the ``with`` block; if ``rest``, free their memory then."""
    for member in group:
        member.embedder.move(device)
    try:
        yield
    finally:
        for member in group if rest else ():
            member.embedder.rest()


def _embed(group: Sequence[PassMember], pixels: Tensor, first: int) -> None:
    """Embed a batch with each member that has not embedded it yet, and write the results to the member's file.

    Args:
        group: members whose models are on the device.
        pixels: uint8 (N, 3, H, W), the batch.
        first: index of the batch's first image in the dataset.
    """
    missing = [member for member in group if member.log.rows == first]
    rows = [member.embedder(pixels) for member in missing]  # a GPU only queues this work; `cpu()` below waits for it
    for member, embedded in zip(missing, rows, strict=True):
        member.log.append(embedded.cpu())
