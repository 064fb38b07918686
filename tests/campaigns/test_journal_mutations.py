"""Journals with random damage: no run reports another result, and whatever is not intact is measured again."""

import json
import math
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.verify_runs import NAME, SMALL, claim, entry, run_here, write_images, write_manifest, write_weights

from reidhub.verification.journal import Journal, make_key
from reidhub.verification.measurement import Measurement

OTHER = "tiny.other"
TOTAL, DIMENSIONS, BATCH = 23, 5, 4
BLOCK = 4 * BATCH * DIMENSIONS + 32  # bytes
KEYS = tuple(make_key(name) for name in ("one", "other"))

Mutation = Callable[[random.Random, bytes, bytes, int], bytes]
"""Changes the content of a file. Gets the content of another file of the same kind and the size of a block, too."""


def flip_bits(chance: random.Random, content: bytes, other: bytes, block: int) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 20])):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def change_digit(chance: random.Random, content: bytes, other: bytes, block: int) -> bytes:
    places = [place for place, byte in enumerate(content) if chr(byte).isdigit()] or [0]
    place = chance.choice(places)
    return content[:place] + chance.choice("0123456789").encode() + content[place + 1 :]


def cut_off(chance: random.Random, content: bytes, other: bytes, block: int) -> bytes:
    return content[: chance.randrange(len(content))]


def cut_out(chance: random.Random, content: bytes, other: bytes, block: int) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + content[start + chance.randint(1, 2 * block) :]


def append(chance: random.Random, content: bytes, other: bytes, block: int) -> bytes:
    return content + chance.choice([other[:block], chance.randbytes(chance.randint(1, block)), content])


def fill(chance: random.Random, content: bytes, other: bytes, block: int) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + bytes(len(content) - start)  # as a file system leaves it after a power failure


def swap_blocks(chance: random.Random, content: bytes, other: bytes, block: int) -> bytes:
    blocks = split(content, block)
    chance.shuffle(blocks)
    return b"".join(blocks)


def take_blocks(chance: random.Random, content: bytes, other: bytes, block: int) -> bytes:
    pairs = zip(split(content, block), split(other, block), strict=False)
    return b"".join(chance.choice(pair) for pair in pairs)


def take_file(chance: random.Random, content: bytes, other: bytes, block: int) -> bytes:
    return other


def write_nonsense(chance: random.Random, content: bytes, other: bytes, block: int) -> bytes:
    return chance.choice([b"", b"{" * 50_000, b'{"digest": ' + b"9" * 6000, b"null", chance.randbytes(len(content))])


def split(content: bytes, block: int) -> list[bytes]:
    return [content[start : start + block] for start in range(0, len(content), block)]


MUTATIONS: list[Mutation] = [
    *(flip_bits, change_digit, cut_off, cut_out, append, fill),
    *(swap_blocks, take_blocks, take_file, write_nonsense),
]


def test_reading_a_mutated_journal_gives_only_values_that_were_written(tmp_path: Path, long: bool, tell) -> None:
    many, chance = 20_000 if long else 600, random.Random(8)
    journal = Journal(tmp_path)
    rows = {key: torch.randn(TOTAL, DIMENSIONS) for key in KEYS}
    counts = {key: make_counts(chance) for key in KEYS}
    for key in KEYS:
        log = journal.open_rows(key, TOTAL, DIMENSIONS, BATCH)
        for part in rows[key].split(BATCH):
            log.append(part)
        log.close()
        journal.write_measurement(key, counts[key])
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done: Counter[str] = Counter()
    for number in range(many):
        key, other = chance.sample(KEYS, 2)
        suffix, mutate = chance.choice(["rows", "json"]), MUTATIONS[number % len(MUTATIONS)]
        path = tmp_path / f"{key}.{suffix}"
        path.write_bytes(mutate(chance, contents[path.name], contents[f"{other}.{suffix}"], BLOCK))
        if suffix == "rows":
            log = journal.open_rows(key, TOTAL, DIMENSIONS, BATCH)
            assert torch.equal(log.read(), rows[key][: log.rows]), mutate
            log.close()
            done["rows kept"] += log.rows
            done["rows measured again"] += TOTAL - log.rows
        else:
            found = journal.read_measurement(key)
            assert found is None or str(found) == str(counts[key]), mutate
            done["counts kept" if found else "counts refused"] += 1
        path.write_bytes(contents[path.name])
    tell(f"journal: {many} mutations, 0 wrong values; " + ", ".join(f"{n} {what}" for what, n in sorted(done.items())))
    assert len(done) == 4


def make_counts(chance: random.Random) -> Measurement:
    ranks = tuple(chance.randint(0, 9) for _ in range(30))
    precisions = tuple(chance.random() if rank else math.nan for rank in ranks)
    hits = tuple(sum(0 < rank <= k for rank in ranks) for k in range(1, 51))
    return Measurement(
        ranks, precisions, precisions[::-1], hits[-1], hits, chance.random(), chance.random(), DIMENSIONS
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    """A data root with two checkpoint files whose embeddings have one shape, and their manifest."""
    folder = write_images(tmp_path / "data")
    for seed, name in enumerate((NAME, OTHER)):
        write_weights(folder, name, seed=seed)
    manifest = write_manifest(folder, *(entry(name, claim(rank1="20.0"), input=SMALL) for name in (NAME, OTHER)))
    monkeypatch.setenv("REIDHUB_MANIFEST", str(manifest))
    return folder


def test_runs_on_a_mutated_journal_give_the_same_results(
    place: Path, tmp_path: Path, monkeypatch, capsys, long: bool, tell
) -> None:
    many, chance = 60 if long else 1, random.Random(9)
    whole, journal = tmp_path / "whole", tmp_path / "journal"

    def results(folder: Path) -> list[dict]:
        options = ("--batch-size", "8", "--json", "--journal", str(folder))
        return json.loads(
            run_here(monkeypatch, capsys, "verify", "*.corridor", "*.other", "--data-root", str(place), *options).stdout
        )

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "discard", lambda journal: None)
        expected = results(whole)
    names = sorted(path.name for path in whole.iterdir() if path.suffix in (".rows", ".json"))
    assert len(expected) == 2 and len(names) == 4
    block = 4 * 8 * expected[0]["counts"]["dimensions"] + 32
    for _ in range(many):
        shutil.copytree(whole, journal)
        for suffix in (".rows", ".json"):
            name, other = chance.sample([name for name in names if name.endswith(suffix)], 2)
            mutate = chance.choice(MUTATIONS)
            content = mutate(chance, (whole / name).read_bytes(), (whole / other).read_bytes(), block)
            (journal / name).write_bytes(content)
        assert results(journal) == expected
        assert not journal.exists()
    tell(f"journal: {many} runs on a mutated journal, {many} with the same results")
