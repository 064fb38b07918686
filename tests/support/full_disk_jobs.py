"""Jobs that write files, for the campaign about full disks; each gets a folder and does the same every time."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import product
from pathlib import Path

import torch

from reidhub.cache.import_files import Importer
from reidhub.cache.store import Cache
from reidhub.download.build_mirror import Mirror
from reidhub.download.fetch import fetch
from reidhub.errors import CacheError, DiskFullError
from reidhub.files.atomic import TEMPORARY
from reidhub.files.digest import Digest
from reidhub.files.lock import take_turn
from reidhub.inference.openvino_model import convert as convert_model
from reidhub.inference.openvino_model import keep, read_kept
from reidhub.verification.journal import open_journal
from reidhub.verification.measurement import Measurement
from reidhub.verification.receipt import write_receipt
from reidhub.verification.report import write_report
from reidhub.weights import convert, find_conversion
from reidhub.zoo.artifact import StateDictLayout
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import read_manifest
from support import reports
from support.full_disks import file_size_limit
from support.hostile_files import saved
from support.small_model import make_small_model, spec_of
from support.zoo_entries import entry, write_zoo

PAGE = 4096  # bytes; a file on a small disk takes whole pages
LAYOUT = StateDictLayout()
TENSORS = {"weight": torch.arange(6000.0)}
MEASUREMENT = Measurement((1, 2) * 2000, (0.5, 0.25) * 2000, (), 4000, (2000, 4000), 0.375, None, 16)


class Jobs:
    """The jobs, with the material that they need; it lies on another disk.

    Args:
        material: an empty folder.
    """

    def __init__(self, material: Path) -> None:
        self._material = material
        published = {"a.pinned": saved(TENSORS), "a.loose": saved({"weight": torch.ones(3000)})}
        for name, content in published.items():
            (material / f"{name}.pth").write_bytes(content)
        self._entries = [
            entry("a.pinned", "local: a.pinned.pth", pinned=published["a.pinned"]),
            entry("a.loose", "local: a.loose.pth"),
        ]
        self._checkpoints: list[Checkpoint] = list(read_manifest([write_zoo(material, *self._entries)]).checkpoints)
        self._full = Cache(material / "cache")
        for checkpoint in self._checkpoints:
            fetch(checkpoint, self._full)
        small = make_small_model()
        self._converted = convert_model(small, spec_of(small))
        self._report, self._galleries = reports.report(material / "corridor")

    def all(self) -> dict[str, Callable[[Path], None]]:
        """Return every job by its name."""
        return {
            "download": self.download,
            "cache add": self.add,
            "mirror": self.mirror,
            "convert weights": self.convert_weights,
            "keep a model": self.keep_model,
            "journal": self.journal,
            "receipt": lambda folder: write_receipt(self._report, folder / "out" / "receipt.json"),
            "report": self.report,
            "lock": self.lock,
        }

    def download(self, folder: Path) -> None:
        cache = Cache(folder / "cache")
        for checkpoint in self._checkpoints:
            found = fetch(checkpoint, cache)
            assert Digest.of_file(found).hex == found.stem

    def add(self, folder: Path) -> None:
        importer = Importer(Cache(folder / "cache"), tuple(self._checkpoints), lambda path, _: [self._checkpoints[1]])
        for name in ("a.pinned", "a.loose"):
            result = importer.add(self._material / f"{name}.pth")
            assert result.state in ("added", "known"), result.reason

    def mirror(self, folder: Path) -> None:
        with Mirror(folder / "mirror", self._full) as mirror:
            outcomes = [mirror.add(checkpoint) for checkpoint in self._checkpoints]
        for outcome in outcomes:
            if outcome.error:
                raise DiskFullError(outcome.error, hint="make room")

    def convert_weights(self, folder: Path) -> None:
        path = folder / f"{'ab' * 32}.pth"
        convert(path, TENSORS, LAYOUT)
        assert find_conversion(path, LAYOUT)

    def keep_model(self, folder: Path) -> None:
        keep(self._converted, folder / "kept.zip")
        assert read_kept(folder / "kept.zip") is not None

    def journal(self, folder: Path) -> None:
        with open_journal(folder / "journal") as journal:
            log = journal.open_rows("ab" * 16, 300, 16, 100)
            try:
                while not log.complete:
                    log.append(torch.full((100, 16), float(log.rows)))
            finally:
                log.close()
            journal.write_measurement("cd" * 16, MEASUREMENT)
            rows, measurement = log.read(), journal.read_measurement("cd" * 16)
        assert rows[:, 0].tolist() == [0.0] * 100 + [100.0] * 100 + [200.0] * 100
        assert measurement == MEASUREMENT

    def report(self, folder: Path) -> None:
        write_report(self._report, self._galleries, folder / "out")

    def lock(self, folder: Path) -> None:
        with take_turn(folder / "locks" / "a.lock", "testing", lambda: False):
            pass


@contextmanager
def little_room(disk: Path, room: int) -> Iterator[None]:
    """Fill the disk, except ``room`` bytes, during the ``with`` block."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        with suppress(OSError):
            while file.write(bytes(PAGE)) == PAGE:
                pass
        file.truncate(max(0, file.tell() - room))
    try:
        yield
    finally:
        ballast.unlink()


def run(disk: Path, material: Path, step: int) -> dict[str, dict[str, int]]:
    """Run each job with more and more room until it succeeds, and count how often it ended how.

    Args:
        disk: an empty folder, the top of a small file system.
        material: an empty folder on another disk.
        step: first difference between two amounts of room, in pages. If it is above 1, the report is left out, because
            it takes long.

    Returns:
        Job and kind of limit -> number of runs that ended with an error in words, and that were complete.
    """
    logging.disable()
    limits = {"disk": lambda room: little_room(disk, room), "ulimit": file_size_limit}
    counts: dict[str, dict[str, int]] = {}
    jobs = Jobs(material).all()
    if step > 1:
        del jobs["report"]
    for (name, job), (kind, limit) in product(jobs.items(), limits.items()):
        ends = counts[f"{name}, {kind}"] = {"full": 0, "complete": 0}
        room = 0
        while not ends["complete"]:
            ends[_run_once(disk, job, limit(room))] += 1
            room = max(room + step * PAGE, room * 2 if step > 1 else room * 9 // 8)
    return counts


def _run_once(disk: Path, job: Callable[[Path], None], limit: AbstractContextManager[None]) -> str:
    """Run a job with a limit, then once more without: what the first run has left must not disturb the second."""
    end = "complete"
    with limit:
        try:
            job(disk)
        except CacheError as error:
            if "room" not in (error.hint or ""):
                raise
            end = "full"
    half = [path for path in disk.rglob("*") if path.name.startswith(TEMPORARY) or path.suffix in (".part", ".notes")]
    if half:
        raise AssertionError(f"left by a job that ended {end}: {half}")
    job(disk)
    for path in sorted(disk.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return end


def main(disk: str, material: str, step: str) -> None:
    """Print the counts as JSON."""
    sys.stdout.write(json.dumps(run(Path(disk), Path(material), int(step))))
