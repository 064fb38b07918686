"""What a run has done so far, on the disk, so that a killed one goes on where it stopped.

Everything lies under a key that is made of all it depends on: the checkpoint's digest, the dataset's fingerprint and
the settings. What was measured under other ones is never taken for this run's.

Embeddings are files that grow batch by batch and survive being cut off at any byte. Each batch is a block: its rows as
little-endian float32, then their CRC-32. What does not end in a whole block with the right CRC is taken off when the
file is opened again, so no kill and no loss of power leaves a wrong row behind.
"""

import hashlib
import json
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from reidhub.errors import UsageError
from reidhub.files.atomic import TEMPORARY, explain_write_errors, write_text
from reidhub.verification.plan import Plan
from reidhub.verification.results import Measurement
from reidhub.verification.settings import Settings

_CRC = 4  # bytes


def _explain_errors(folder: Path) -> AbstractContextManager[None]:
    """Replace an OSError of the block by a CacheError with a hint."""
    hint = "make room, or name a folder on another disk with --journal; a run goes on where it stopped"
    return explain_write_errors(f"write the journal {folder}", hint=hint)


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
        self.rows, self._size = self._intact()
        with _explain_errors(path.parent):
            self._file = path.open("ab", buffering=0)  # nothing is left to write when the file is closed
            self._file.truncate(self._size)

    @property
    def complete(self) -> bool:
        """True when all rows are there."""
        return self.rows == self._total

    def append(self, rows: Tensor) -> None:
        """Write the next block, float32 (n, D) on the CPU.

        Raises:
            CacheError: the disk does not take it; nothing of the block is left then.
        """
        block = np.ascontiguousarray(rows.numpy(), dtype="<f4").tobytes()
        block += zlib.crc32(block).to_bytes(_CRC, "little")
        with _explain_errors(self.path.parent):
            try:
                written = 0
                while written < len(block):
                    written += self._file.write(memoryview(block)[written:])
            except OSError:
                with suppress(OSError):
                    self._file.truncate(self._size)
                raise
        self.rows += len(rows)
        self._size += len(block)

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
        """Close the file, and remove it where it has no rows; rows can still be read.

        Raises:
            CacheError: the disk fails.
        """
        with _explain_errors(self.path.parent):
            self._file.close()
            if not self.rows:
                self.path.unlink(missing_ok=True)

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


_LOCK = "lock"
_OWN = re.compile(rf"[0-9a-f]{{32}}\.(rows|json)|{TEMPORARY}[0-9a-f]{{32}}\.json-\w+")  # nothing else is ever removed


def key_of(*parts: Any) -> str:
    """A name for what depends on these parts and nothing else; they must be JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def default_journal(root: Path, plan: Plan, settings: Settings) -> Path:
    """The folder below ``root`` of the run that measures a plan under some settings, and of no other."""
    jobs = [job.key for job in plan.jobs]
    fields = {name: str(value) for name, value in asdict(settings).items() if name != "workers"}
    key = key_of(jobs, fields | {"data_root": str(settings.data_root.absolute())})
    return root / f"verify-{key}"


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of one run; made by `open_journal`, which lets one run in at a time."""

    folder: Path

    def rows(self, key: str, total: int, dimensions: int, batch_size: int) -> RowLog:
        """The embeddings under a key, as far as they are there; see `RowLog`."""
        return RowLog(self._rows_path(key), total, dimensions, batch_size)

    def measurement(self, key: str) -> Measurement | None:
        """What was counted under a key; None where nothing readable is."""
        try:
            fields = json.loads(self._measurement_path(key).read_text(encoding="utf-8"))
            return Measurement(**{**fields, **{name: tuple(fields[name]) for name in _TUPLES}})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def keep(self, key: str, measurement: Measurement) -> None:
        """Remember what was counted; it is there whole or not at all.

        Raises:
            CacheError: the disk does not take it.
        """
        with _explain_errors(self.folder):
            write_text(self._measurement_path(key), json.dumps(asdict(measurement)))

    def discard(self) -> None:
        """Remove everything: the run is over, and the next one measures again."""
        for path in self.folder.iterdir():
            if _OWN.fullmatch(path.name):
                path.unlink()

    def _rows_path(self, key: str) -> Path:
        return self.folder / f"{key}.rows"

    def _measurement_path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


_TUPLES = ("first_match_rank", "average_precision", "hits")


@contextmanager
def open_journal(folder: Path) -> Iterator[Journal]:
    """The journal in a folder, for one run alone.

    A folder that is empty in the end is removed.

    Raises:
        UsageError: another run is using it.
        CacheError: the folder cannot be written.
    """
    lock = FileLock(folder / _LOCK, timeout=0)
    with _explain_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise UsageError(
                f"another run is using the journal {folder}", hint="wait for it, or name another folder with --journal"
            ) from None
    try:
        yield Journal(folder)
    finally:
        lock.release()
        if {path.name for path in folder.iterdir()} <= {_LOCK}:
            shutil.rmtree(folder, ignore_errors=True)
