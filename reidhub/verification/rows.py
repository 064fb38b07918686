"""A file of embeddings that grows batch by batch and survives being cut off at any byte.

Each batch is a block: its rows as little-endian float32, then their CRC-32. What does not end in a whole block with the
right CRC is taken off when the file is opened again, so no kill and no loss of power leaves a wrong row behind.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reidhub.errors import CacheError

_CRC = 4  # bytes


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the disk does not take becomes an error with a hint.

    Raises:
        CacheError: it did not.
    """
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"cannot write the journal {path.parent}: {error.strerror}",
            hint="make room, or name a folder on another disk with --journal; a run goes on where it stopped",
        ) from error


class RowLog:
    """Rows (N, D), complete or on the way.

    Args:
        path: the file, made where it does not exist.
        total: N when it is complete.
        dimensions: D.
        batch_size: rows of a block; the last one may have fewer.

    Attributes:
        rows: how many are there.
    """

    def __init__(self, path: Path, total: int, dimensions: int, batch_size: int) -> None:
        self.path = path
        self.dimensions = dimensions
        self._total = total
        self._batch_size = batch_size
        self.rows, size = self._intact()
        with writing(path):
            self._file = path.open("ab")
            self._file.truncate(size)

    @property
    def complete(self) -> bool:
        """True when all rows are there."""
        return self.rows == self._total

    def append(self, rows: Tensor) -> None:
        """Write the next block, float32 (n, D) on the CPU.

        Raises:
            CacheError: the disk does not take it.
        """
        block = np.ascontiguousarray(rows.numpy(), dtype="<f4").tobytes()
        with writing(self.path):
            self._file.write(block + zlib.crc32(block).to_bytes(_CRC, "little"))
            self._file.flush()
        self.rows += len(rows)

    def read(self) -> Tensor:
        """All rows that are there, float32 (N, D)."""
        read = np.empty((self.rows, self.dimensions), np.float32)
        with self.path.open("rb") as file:
            for start in range(0, self.rows, self._batch_size):
                part = read[start : start + self._batch_size]
                part[:] = np.frombuffer(file.read(part.nbytes), "<f4").reshape(part.shape)
                file.seek(_CRC, 1)
        return torch.from_numpy(read)

    def close(self) -> None:
        """Let go of the file; rows can still be read."""
        self._file.close()

    def _intact(self) -> tuple[int, int]:
        """Rows and bytes of the whole blocks at the beginning of the file."""
        rows = size = 0
        if not self.path.exists():
            return 0, 0
        with self.path.open("rb") as file:
            while rows < self._total:
                count = min(self._batch_size, self._total - rows)
                block = file.read(4 * count * self.dimensions)
                if file.read(_CRC) != zlib.crc32(block).to_bytes(_CRC, "little"):
                    break
                if len(block) < 4 * count * self.dimensions:
                    break
                rows, size = rows + count, size + len(block) + _CRC
        return rows, size
