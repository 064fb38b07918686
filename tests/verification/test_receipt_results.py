"""The results of receipts, read for people: nothing is lost, and nothing odd is taken."""

from pathlib import Path
from typing import Any

import pytest
from support.explorer_inputs import PINNED, change, measured, write_receipt_of

from reidhub.errors import UsageError
from reidhub.verification.receipt_results import read_results
from reidhub.zoo.manifest import zoo


@pytest.fixture
def receipt(tmp_path: Path) -> Path:
    """A receipt of one result."""
    return write_receipt_of(tmp_path / "receipt.json", [measured(zoo().by_name[PINNED], "market1501")])


def test_results_keep_every_field_that_the_writer_wrote(receipt: Path) -> None:
    expected = measured(zoo().by_name[PINNED], "market1501")
    (result,) = read_results(receipt)
    assert (result.checkpoint, result.dataset, result.verdict) == (PINNED, "market1501", "reproduced")
    assert (result.file, result.copy) == (expected.file, expected.copy)
    assert [(f.metric, f.reported, f.measured, f.verdict) for f in result.figures] == [
        (f.metric, f.reported, f.measured, f.verdict) for f in expected.figures
    ]
    assert result.conditions and result.conditions.device_name == "a processor"
    assert result.counts and (result.counts.queries, result.counts.per_query_sha256) == (
        2, expected.measurement.per_query_digest,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda result: result.update(verdict="wonderful"), "verdict: expected 'reproduced' or"),
        (lambda result: result.update(extra=1), "unknown 'extra'"),
        (lambda result: result.pop("reason"), "missing 'reason'"),
        (lambda result: result.update(reason="x" * 5000), "a text has more than 4000 characters"),
        (lambda result: result["figures"][0].update(metric="<b>"), "unknown metric '<b>'"),
        (lambda result: result["figures"][0].update(measured=100.5), "rank1 is not between 0 and 100"),
        (lambda result: result["figures"][0].update(measured=float("nan")), "rank1 is not between 0 and 100"),
        (lambda result: result["figures"][0].update(reported="<b>"), "rank1 is not a percentage"),
        (lambda result: result["figures"][0].update(deviation=1e9), "more than 100 points"),
        (lambda result: result["figures"][0].update(hits=3), "more hits than queries"),
        (lambda result: result["figures"][0].update(verdict="not run"), "its verdict is 'not run'"),
        (lambda result: result.update(conditions=None), "its file or conditions are missing"),
    ],
)
def test_a_receipt_with_odd_values_is_damaged(receipt: Path, edit: Any, words: str) -> None:
    change(receipt, lambda content: edit(content["results"][0]))
    with pytest.raises(UsageError, match="is a damaged receipt: results: ") as error:
        read_results(receipt)
    assert words in str(error.value)


def test_a_file_that_is_no_receipt_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("[" * 100_000)
    for name, words in [("no.json", "is not a receipt"), ("none.json", "cannot read the receipt")]:
        with pytest.raises(UsageError, match=words):
            read_results(tmp_path / name)
