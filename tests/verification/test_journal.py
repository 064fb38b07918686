"""Journals whose files were damaged, swapped or renamed: a run uses what is intact, and measures the rest again."""

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reidhub.errors import CacheError
from reidhub.verification.journal import Journal, RowLog, make_key, open_journal
from reidhub.verification.measurement import Measurement

TOTAL, DIMENSIONS, BATCH = 10, 3, 4
BLOCK = 4 * BATCH * DIMENSIONS + 32  # bytes of a whole block: float32 and sha256
KEYS = make_key("one"), make_key("other")
COUNTS = Measurement((1, 3, 0), (1.0, 0.1 + 0.2, math.nan), (1.0, 0.2, math.nan), 2, (1, 1, *[2] * 48), 0.65, 0.6, 512)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal with two complete files of embeddings of one shape."""
    journal = Journal(tmp_path)
    for seed, key in enumerate(KEYS):
        log = open_log(journal, key)
        for part in rows(seed).split(BATCH):
            log.append(part)
        log.close()
    return journal


def rows(seed: int) -> Tensor:
    return torch.randn(TOTAL, DIMENSIONS, generator=torch.Generator().manual_seed(seed))


def open_log(journal: Journal, key: str) -> RowLog:
    return journal.open_rows(key, TOTAL, DIMENSIONS, BATCH)


def path_of(journal: Journal, key: str, suffix: str = "rows") -> Path:
    return journal.folder / f"{key}.{suffix}"


def swap_blocks(one: bytes, other: bytes) -> bytes:
    return one[BLOCK : 2 * BLOCK] + one[:BLOCK] + one[2 * BLOCK :]


def take_block_of_another_file(one: bytes, other: bytes) -> bytes:
    return one[:BLOCK] + other[BLOCK : 2 * BLOCK] + one[2 * BLOCK :]


def take_another_file(one: bytes, other: bytes) -> bytes:
    return other


def repeat_block(one: bytes, other: bytes) -> bytes:
    return one[:BLOCK] + one[: 2 * BLOCK]


def flip_bit_of_a_value(one: bytes, other: bytes) -> bytes:
    return one[: BLOCK + 5] + bytes([one[BLOCK + 5] ^ 1]) + one[BLOCK + 6 :]


def flip_bit_of_a_digest(one: bytes, other: bytes) -> bytes:
    return one[: 2 * BLOCK - 1] + bytes([one[2 * BLOCK - 1] ^ 128]) + one[2 * BLOCK :]


@pytest.mark.parametrize(
    ("damage", "intact"),
    [
        (swap_blocks, 0),
        (take_block_of_another_file, 4),
        (take_another_file, 0),
        (repeat_block, 4),
        (flip_bit_of_a_value, 4),
        (flip_bit_of_a_digest, 4),
    ],
)
def test_blocks_that_are_damaged_or_in_a_wrong_place_are_measured_again(
    journal: Journal, damage: Callable[[bytes, bytes], bytes], intact: int
) -> None:
    one, other = (path_of(journal, key) for key in KEYS)
    one.write_bytes(damage(one.read_bytes(), other.read_bytes()))
    log = open_log(journal, KEYS[0])
    assert (log.rows, log.complete) == (intact, False)
    for start in range(intact, TOTAL, BATCH):
        log.append(rows(0)[start : start + BATCH])
    log.close()
    assert torch.equal(log.read(), rows(0))


def test_damage_while_a_run_uses_the_file_ends_the_run(journal: Journal) -> None:
    log, path = open_log(journal, KEYS[0]), path_of(journal, KEYS[0])
    log.close()
    assert torch.equal(log.read(), rows(0))
    path.write_bytes(swap_blocks(path.read_bytes(), b""))
    with pytest.raises(CacheError, match="damaged during the run: 0 of 10 rows are intact\nhint: run the same command"):
        log.read()


def test_counts_are_read_as_they_were_written(journal: Journal) -> None:
    journal.write_measurement(KEYS[0], COUNTS)
    assert str(journal.read_measurement(KEYS[0])) == str(COUNTS)  # NaN is not equal to itself


def test_counts_with_a_flipped_bit_are_refused(journal: Journal) -> None:
    journal.write_measurement(KEYS[0], COUNTS)
    path = path_of(journal, KEYS[0], "json")
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        found = journal.read_measurement(KEYS[0])
        assert found is None or str(found) == str(COUNTS), place


def test_counts_of_another_key_are_refused(journal: Journal) -> None:
    journal.write_measurement(KEYS[0], COUNTS)
    path_of(journal, KEYS[0], "json").rename(path_of(journal, KEYS[1], "json"))
    assert journal.read_measurement(KEYS[0]) is None and journal.read_measurement(KEYS[1]) is None


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"1" * 10_000, b"[]", b"null", b'{"digest": 1}', b"\xff"])
def test_files_that_hold_no_counts_are_measured_again(journal: Journal, content: bytes) -> None:
    path_of(journal, KEYS[0], "json").write_bytes(content)
    assert journal.read_measurement(KEYS[0]) is None


def test_folders_in_the_place_of_files_are_errors_in_words_and_stay(journal: Journal) -> None:
    for suffix in ("rows", "json"):
        path_of(journal, KEYS[0], suffix).unlink(missing_ok=True)
        path_of(journal, KEYS[0], suffix).mkdir()
    assert journal.read_measurement(KEYS[0]) is None
    with pytest.raises(CacheError, match="cannot write the journal"):
        open_log(journal, KEYS[0])
    with pytest.raises(CacheError, match="cannot write the journal"):
        journal.write_measurement(KEYS[0], COUNTS)
    journal.discard()
    assert sorted(path.name for path in journal.folder.iterdir()) == [f"{KEYS[0]}.json", f"{KEYS[0]}.rows"]


def test_a_pipe_in_the_place_of_a_file_is_an_error_and_no_endless_wait(journal: Journal) -> None:
    path_of(journal, KEYS[0]).unlink()
    os.mkfifo(path_of(journal, KEYS[0]))
    with pytest.raises(CacheError, match=r"cannot write the journal .*: not a regular file"):
        open_log(journal, KEYS[0])


def test_a_journal_that_somebody_removed_during_the_run_is_no_reason_to_fail(tmp_path: Path) -> None:
    with open_journal(tmp_path / "journal") as journal:
        shutil.rmtree(journal.folder)
