"""The journal stores the results of a run on the disk, so that an interrupted run can resume.

Each job has two entries in the journal: its embeddings (for a classification, the best classes of each image), and its
`Measurement`, from which its scores are computed.

Each entry is a file, and its key is the name of the file. The key is a hash of everything that the entry depends on:
the checkpoint's digest, the dataset's fingerprint and the settings. So a run never uses an entry that was measured with
other weights, images or settings.

A file of embeddings grows batch by batch. Each batch is a block: its rows as little-endian float32, then their CRC-32.
A block is intact if it is complete and has the right CRC. When the file is opened again, the first block that is not
intact is cut off, with all blocks after it. So no wrong row remains after a run was killed or a computer lost power.
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

_CRC = 4  # bytes of a CRC-32


def _explain_errors(folder: Path) -> AbstractContextManager[None]:
    """Replace an OSError in the ``with`` block by a CacheError with a hint."""
    hint = "make room, or name a folder on another disk with --journal; the same command resumes the run"
    return explain_write_errors(f"write the journal {folder}", hint=hint)


class RowLog:
    """A file of rows, float32 (N, D): embeddings, or the best classes of images.

    Args:
        path: the file; created if it does not exist.
        total: number of rows of the complete file.
        dimensions: D, the number of values in a row.
        batch_size: number of rows in a block; the last block may have fewer.

    Attributes:
        rows: number of intact rows that the file has now.

    Raises:
        CacheError: the file cannot be written.
    """

    def __init__(self, path: Path, total: int, dimensions: int, batch_size: int) -> None:
        self.path = path
        self.dimensions = dimensions
        self._total = total
        self._batch_size = batch_size
        self.rows, self._size = self._measure_intact()
        with _explain_errors(path.parent):
            self._file = path.open("ab", buffering=0)  # unbuffered: closing the file writes nothing more
            self._file.truncate(self._size)

    @property
    def complete(self) -> bool:
        """True if the file has all rows."""
        return self.rows == self._total

    def append(self, rows: Tensor) -> None:
        """Write the next block.

        Args:
            rows: float32 (n, D), on the CPU.

        Raises:
            CacheError: the block cannot be written; the part that was written is removed again.
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
        """Read all rows that are in the file now, float32 (N, D)."""
        read = np.empty((self.rows, self.dimensions), np.float32)
        with self.path.open("rb") as file:
            for start in range(0, self.rows, self._batch_size):
                part = read[start : start + self._batch_size]
                part[:] = np.frombuffer(file.read(part.nbytes), "<f4").reshape(part.shape)
                file.seek(_CRC, 1)
        return torch.from_numpy(read)

    def close(self) -> None:
        """Close the file, and remove it if it has no rows; `read` still works on the rows of a closed file.

        Raises:
            CacheError: the file cannot be closed or removed.
        """
        with _explain_errors(self.path.parent):
            self._file.close()
            if not self.rows:
                self.path.unlink(missing_ok=True)

    def _measure_intact(self) -> tuple[int, int]:
        """Count the rows and bytes of the intact blocks at the start of the file."""
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
_OWN = re.compile(rf"[0-9a-f]{{32}}\.(rows|json)|{TEMPORARY}[0-9a-f]{{32}}\.json-\w+")  # `discard` removes these


def make_key(*parts: Any) -> str:
    """Make the key of an entry: a hash of everything that the entry depends on. Each part must be a JSON value."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def choose_folder(root: Path, plan: Plan, settings: Settings) -> Path:
    """Choose the folder below ``root`` for the journal of a run.

    Runs with the same jobs and settings get the same folder. The number of workers makes no difference.
    """
    jobs = [job.key for job in plan.jobs]
    fields = {name: str(value) for name, value in asdict(settings).items() if name != "workers"}
    key = make_key(jobs, fields | {"data_root": str(settings.data_root.absolute())})
    return root / f"verify-{key}"


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of one run. `open_journal` opens it and locks it, so that no other run uses it."""

    folder: Path

    def open_rows(self, key: str, total: int, dimensions: int, batch_size: int) -> RowLog:
        """Open the file with the embeddings, or the best classes, that have this key.

        Args:
            key: the key from `make_key`.
            total: number of rows of the complete file.
            dimensions: number of values in a row.
            batch_size: number of rows in a block.

        Raises:
            CacheError: the file cannot be written.
        """
        return RowLog(self._rows_path(key), total, dimensions, batch_size)

    def read_measurement(self, key: str) -> Measurement | None:
        """Read the `Measurement` that has this key; return None if its file is missing or broken."""
        try:
            fields = json.loads(self._measurement_path(key).read_text(encoding="utf-8"))
            return Measurement(**{**fields, **{name: tuple(fields[name]) for name in _TUPLES}})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write_measurement(self, key: str, measurement: Measurement) -> None:
        """Write a `Measurement` to the file with this key.

        Raises:
            CacheError: the file cannot be written.
        """
        with _explain_errors(self.folder):
            write_text(self._measurement_path(key), json.dumps(asdict(measurement)))

    def discard(self) -> None:
        """Remove all entries, at the end of a complete run. The next run then measures everything again."""
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
    """Open the journal in a folder. Until the ``with`` block ends, no other run can open it.

    At the end of the block, the folder is removed if the journal has no entries.

    Raises:
        UsageError: another run uses the journal.
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
