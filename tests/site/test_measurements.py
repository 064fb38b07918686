"""Which results of receipts belong to which checkpoint, and which verdict the table shows."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.explorer_inputs import OTHER_FILE, PINNED, UNPINNED, change, measured, not_comparable, write_receipt_of

from reidhub.errors import UsageError
from reidhub.site.measurements import choose_verdict, read_measurements
from reidhub.verification.results import CheckpointFile, NotMeasured
from reidhub.zoo.manifest import zoo


@pytest.fixture
def receipt(tmp_path: Path) -> Path:
    """A receipt of a pinned and of an unpinned checkpoint, in this order."""
    results = [measured(zoo().by_name[name], "market1501") for name in (PINNED, UNPINNED)]
    return write_receipt_of(tmp_path / "receipt.json", results)


def test_a_pinned_checkpoint_is_found_by_its_sha256_and_an_unpinned_one_by_its_name(receipt: Path) -> None:
    found, notes = read_measurements([receipt], zoo().checkpoints)
    assert {name: [one.matched_by for one in own] for name, own in found.items()} == {
        PINNED: ["sha256"], UNPINNED: ["name"],
    }  # fmt: skip
    assert notes == []


def test_the_sha256_counts_more_than_the_name(receipt: Path) -> None:
    change(receipt, lambda content: content["results"][0].update(checkpoint="renamed.pth"))
    assert read_measurements([receipt], zoo().checkpoints)[0].keys() == {PINNED, UNPINNED}
    change(receipt, lambda content: content["results"][0].update(checkpoint=PINNED))
    change(receipt, lambda content: content["results"][0]["file"].update(sha256=OTHER_FILE))
    found, notes = read_measurements([receipt], zoo().checkpoints)
    assert found.keys() == {UNPINNED}
    assert notes == [f"{receipt}: 1 of 2 results belong to no checkpoint of the zoo"]


def test_a_receipt_that_is_given_twice_counts_once(receipt: Path) -> None:
    found, _ = read_measurements([receipt, receipt], zoo().checkpoints)
    assert [len(own) for own in found.values()] == [1, 1]


def test_a_receipt_without_any_known_checkpoint_is_an_error(receipt: Path) -> None:
    change(receipt, lambda content: content["results"].pop())
    change(receipt, lambda content: content["results"][0]["file"].update(sha256=OTHER_FILE))
    with pytest.raises(UsageError, match=f"has no result of a checkpoint of the zoo\nhint: it has: {PINNED}"):
        read_measurements([receipt], zoo().checkpoints)


def test_a_job_that_failed_before_its_file_came_belongs_to_its_name(tmp_path: Path) -> None:
    job = measured(zoo().by_name[PINNED], "market1501").job
    failed = NotMeasured(job=job, verdict="not run", reason="no source gave it", figures=())
    found, _ = read_measurements([write_receipt_of(tmp_path / "r.json", [failed])], zoo().checkpoints)
    assert choose_verdict(found[PINNED], "market1501") == "not run"


def test_the_comparable_result_is_shown_and_of_several_the_worst(tmp_path: Path) -> None:
    checkpoint = zoo().by_name[PINNED]
    exact, near = (measured(checkpoint, "market1501", points) for points in ("0", "0.08"))
    partial = not_comparable(near)
    for results, verdict in [
        ([partial], "not comparable"),
        ([partial, exact], "reproduced"),
        ([exact, near], "close"),
        ([near, exact, partial], "close"),
    ]:
        receipts = [write_receipt_of(tmp_path / f"{number}.json", [one]) for number, one in enumerate(results)]
        found, _ = read_measurements(receipts, zoo().checkpoints)
        assert len(found[PINNED]) == len(results)
        assert choose_verdict(found[PINNED], "market1501") == verdict
    assert choose_verdict(found[PINNED], "msmt17") is None


def test_a_result_without_a_published_score_is_kept(tmp_path: Path) -> None:
    result = measured(zoo().by_name[PINNED], "market1501")
    own = replace(result, job=replace(result.job, dataset="own images", score=None), verdict="not comparable")
    own = replace(own, file=CheckpointFile(own.file.sha256, 1, "nothing"))
    found, _ = read_measurements([write_receipt_of(tmp_path / "r.json", [own])], zoo().checkpoints)
    assert choose_verdict(found[PINNED], "own images") == "not comparable"
