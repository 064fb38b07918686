"""The journal stores the results of a run on the disk, so that an interrupted run can resume.

Each job has two entries in the journal: its embeddings (for a classification, the best classes of each image), and its
`Measurement`, from which its scores are computed.

Each entry is a file, and its key is the name of the file. The key is a hash of everything that the entry depends on:
the checkpoint's digest, the dataset's fingerprint, the settings and the versions of the software. So a run never uses
an entry that was measured with other weights, images, settings or code.

Only intact parts are used; all others are measured again. A file of embeddings grows batch by batch. Each batch is a
block: its rows as little-endian float32, then their digest. A file with a `Measurement` has one digest. A digest is a
sha256 of the content, the key and the position in the file, so blocks and files that were damaged, swapped or renamed
are noticed. When a file of embeddings is opened again, the first block that is not intact is cut off, with all blocks
after it.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from reidhub.errors import CacheError, UsageError
from reidhub.files.atomic import TEMPORARY, explain_write_errors, write_text
from reidhub.files.regular_file import open_regular_file
from reidhub.files.strict_json import read_json, to_json
from reidhub.verification.measurement import Measurement
from reidhub.verification.plan import Plan
from reidhub.verification.settings import Settings

_DIGEST = hashlib.sha256().digest_size  # bytes


def _explain_errors(folder: Path) -> AbstractContextManager[None]:
    """Replace an OSError in the ``with`` block by a CacheError with a hint."""
    hint = "make room, or name a folder on another disk with --journal; the same command resumes the run"
    return explain_write_errors(f"write the journal {folder}", hint=hint)


def _compute_digest(key: str, position: int, content: bytes) -> bytes:
    """Compute the digest of a part of an entry.

    Args:
        key: the key of the entry.
        position: where the part begins: the index of a block's first row; 0 for a `Measurement`.
        content: the bytes of the part.
    """
    digest = hashlib.sha256(f"{key} {position}\n".encode())
    digest.update(content)
    return digest.digest()


class RowLog:
    """A file of rows, float32 (N, D): embeddings, or the best classes of images.

    Args:
        path: the file; created if it does not exist. Its name without the suffix is the key of the entry.
        total: number of rows of the complete file.
        dimensions: D, the number of values in a row.
        batch_size: number of rows in a block; the last block may have fewer.

    Attributes:
        rows: number of intact rows that the file has now.

    Raises:
        CacheError: the file cannot be read or written.
    """

    def __init__(self, path: Path, total: int, dimensions: int, batch_size: int) -> None:
        self.path = path
        self.dimensions = dimensions
        self._total = total
        self._batch_size = batch_size
        with _explain_errors(path.parent):
            self.rows, self._size = self._measure_intact()
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
        block += _compute_digest(self.path.stem, self.rows, block)
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
        """Read all rows that are in the file now, float32 (N, D).

        Raises:
            CacheError: the file cannot be read, or it was damaged after it was opened.
        """
        read = np.empty((self.rows, self.dimensions), np.float32)
        intact = 0
        with explain_write_errors(f"read the journal {self.path.parent}"):
            for block in self._read_blocks(self.rows):
                part = np.frombuffer(block, "<f4").reshape(-1, self.dimensions)
                read[intact : intact + len(part)] = part
                intact += len(part)
        if intact < self.rows:
            raise CacheError(
                f"{self.path} was damaged during the run: {intact} of {self.rows} rows are intact",
                hint="run the same command again; it measures the damaged part again",
            )
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
        if self.path.exists():
            for block in self._read_blocks(self._total):
                rows, size = rows + len(block) // (4 * self.dimensions), size + len(block) + _DIGEST
        return rows, size

    def _read_blocks(self, rows: int) -> Iterator[bytes]:
        """Yield the blocks of the first rows, without their digests, up to the first block that is not intact."""
        with open_regular_file(self.path) as file:
            for first in range(0, rows, self._batch_size):
                size = 4 * self.dimensions * min(self._batch_size, self._total - first)
                block, digest = file.read(size), file.read(_DIGEST)
                if len(block) < size or digest != _compute_digest(self.path.stem, first, block):
                    return
                yield block


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
class _StoredMeasurement:
    """The content of a file with a `Measurement`, as JSON; the digest is of the JSON of the measurement alone."""

    digest: str
    measurement: Measurement

    @classmethod
    def of(cls, key: str, measurement: Measurement) -> "_StoredMeasurement":
        """Make the content of the file with this key."""
        return cls(_compute_digest(key, 0, to_json(measurement)).hex(), measurement)


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
            CacheError: the file cannot be read or written.
        """
        return RowLog(self._rows_path(key), total, dimensions, batch_size)

    def read_measurement(self, key: str) -> Measurement | None:
        """Read the `Measurement` that has this key; return None if its file is missing or not intact."""
        stored = read_json(_StoredMeasurement, self._measurement_path(key))
        if stored is None or stored.digest != _StoredMeasurement.of(key, stored.measurement).digest:
            return None
        return stored.measurement

    def write_measurement(self, key: str, measurement: Measurement) -> None:
        """Write a `Measurement` to the file with this key.

        Raises:
            CacheError: the file cannot be written.
        """
        with _explain_errors(self.folder):
            write_text(self._measurement_path(key), to_json(_StoredMeasurement.of(key, measurement)).decode())

    def discard(self) -> None:
        """Remove all entries, at the end of a complete run. The next run then measures everything again.

        Raises:
            CacheError: an entry cannot be removed.
        """
        with _explain_errors(self.folder):
            for path in self.folder.iterdir():
                if _OWN.fullmatch(path.name) and path.is_file():
                    path.unlink()

    def _rows_path(self, key: str) -> Path:
        return self.folder / f"{key}.rows"

    def _measurement_path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


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
        with suppress(OSError):  # the run has ended; at worst an empty folder stays
            lock.release()
            if {path.name for path in folder.iterdir()} <= {_LOCK}:
                shutil.rmtree(folder, ignore_errors=True)
