"""Runs out of room or memory: exit code 1, an error in words, and nothing left but what the next run goes on with."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.full_disks import file_size_limit
from support.generated_zoo import files_below
from support.verify_runs import (
    NAME,
    SMALL,
    Done,
    claim,
    entry,
    run_here,
    write_images,
    write_manifest,
    write_weights,
)

from reidhub.verification.journal import Journal


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root, a checkpoint file and its manifest."""
    folder = write_images(tmp_path_factory.mktemp("corridor"))
    write_weights(folder, NAME, seed=3)
    write_manifest(folder, entry(NAME, claim(rank1="20.0"), input=SMALL))
    return folder


@pytest.fixture
def verify(place: Path, monkeypatch, capsys) -> Callable[..., Done]:
    """Runs ``reidhub verify`` in this process."""
    monkeypatch.setenv("REIDHUB_MANIFEST", str(place / "zoo.yaml"))
    return lambda *arguments: run_here(monkeypatch, capsys, "verify", "--data-root", str(place), *arguments)


def left_in(home: Path) -> list[str]:
    """Names in a cache, without its locks and its parsed copies of manifests."""
    return [name for name in files_below(home) if not name.startswith(("locks/", "manifest/"))]


def check_error(done: Done, message: str, hint: str = "make room") -> None:
    """The command failed, and says so in words."""
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert f"error: {message}" in done.stderr and f"hint: {hint}" in done.stderr


OUTPUTS = {
    "--receipt": "cannot write the receipt",
    "--html": "cannot write the report",
    "--keep-embeddings": "cannot keep embeddings",
}


def test_results_that_the_disk_does_not_take_are_named_and_measured_once(verify, monkeypatch, tmp_path: Path) -> None:
    journal, out = ("--journal", str(tmp_path / "journal")), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "discard", lambda journal: None)
        verify(NAME, *journal)
    measured = files_below(tmp_path / "journal")
    for option, message in OUTPUTS.items():
        target = out / "receipt.json" if option == "--receipt" else out
        with file_size_limit(100):
            done = verify(NAME, *journal, option, str(target))
        check_error(done, message)
        assert "File too large" in done.stderr
        assert files_below(out) == {}
    assert measured and files_below(tmp_path / "journal") == measured


def test_a_journal_without_room_for_a_block_leaves_nothing(verify, reidhub_home: Path) -> None:
    verify(NAME, "--level", "files")
    cached = left_in(reidhub_home)
    with file_size_limit(100):
        done = verify("*.corridor")
    check_error(done, "cannot write the journal")
    assert left_in(reidhub_home) == cached


def test_a_journal_without_room_for_the_counts_keeps_the_embeddings(verify, monkeypatch, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "discard", lambda journal: None)
        verify(NAME, "--journal", str(journal))
    (counts,) = journal.glob("*.json")
    counts.unlink()
    before = files_below(journal)
    with file_size_limit(100):
        done = verify("*.corridor", "--journal", str(journal))
    check_error(done, "cannot write the journal")
    assert before and files_below(journal) == before
    assert verify(NAME, "--journal", str(journal)).stdout
    assert not journal.exists()


@pytest.mark.parametrize("level", ["files", "scores"])
def test_a_cache_without_room_for_the_weights_stops_the_run(level: str, verify, reidhub_home: Path) -> None:
    with file_size_limit(100_000):
        done = verify("*.corridor", "--level", level)
    check_error(done, "cannot write")
    assert left_in(reidhub_home) == []


@pytest.mark.parametrize(
    "place_of_failure",
    [
        "reidhub.models.base.ReidModel.embed",
        "reidhub.verification.movable_embedder.MovableEmbedder.move",
        "reidhub.verification.scoring.evaluate",
        "reidhub.verification.report.galleries.rank_gallery",
    ],
)
def test_a_gpu_out_of_memory_is_an_error_with_a_hint(
    place_of_failure: str, verify, monkeypatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(place_of_failure, fail)
    options = [f"--{name}={tmp_path / 'out' / name}" for name in ("html", "receipt", "journal")]
    done = verify("*.corridor", *options)
    check_error(done, "the device cpu is out of memory", "choose a smaller --batch-size")
    left = {Path(name).parent.name for name in files_below(tmp_path / "out")}
    assert left == ({"journal"} if "scoring" in place_of_failure or "galleries" in place_of_failure else set())
