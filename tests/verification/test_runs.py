"""Runs that are killed, repeated, shared and turned in; what each leaves behind."""

import contextlib
import csv
import fcntl
import io
import json
import logging
import os
import pty
import re
import shlex
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.reports import CONDITIONS, retrieval
from support.reports import checkpoint as one
from support.verify_runs import (
    NAME,
    SMALL,
    Done,
    claim,
    command,
    entry,
    environment,
    run_here,
    write_images,
    write_manifest,
    write_weights,
)

import reidhub
from reidhub.devices import has_bf16
from reidhub.metrics import evaluate
from reidhub.verification import receipt, run
from reidhub.verification.journal import Journal, open_journal
from reidhub.verification.plan import Job
from reidhub.verification.prepare import PreparedJob
from reidhub.verification.results import CheckpointFile
from reidhub.zoo.artifact import StateDictLayout

OTHER = "tiny.other"
TWIN = "tiny.twin"  # the same file as OTHER, scored by another distance


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root, two checkpoint files and their manifest."""
    folder = write_images(tmp_path_factory.mktemp("corridor"))
    write_weights(folder, NAME, seed=3)
    write_weights(folder, OTHER, seed=4)
    other = entry(OTHER, claim(rank1="20.0"), distance="cosine", input=SMALL)
    twin = entry(TWIN, claim(rank1="20.0"), sources=f"[{{local: {OTHER}.pth}}]", input=SMALL)
    write_manifest(folder, entry(NAME, claim(rank1="20.0"), input=SMALL), other, twin)
    return folder


@pytest.fixture
def verify(place: Path, monkeypatch, capsys) -> Callable[..., Done]:
    """Runs ``reidhub verify`` in this process."""
    monkeypatch.setenv("REIDHUB_MANIFEST", str(place / "zoo.yaml"))
    return lambda *arguments: run_here(monkeypatch, capsys, "verify", "--data-root", str(place), *arguments)


def killed_after(blocks: int, journal: Path, arguments: list[str]) -> None:
    """Start a real run and kill it once its journal has grown by so many bytes' worth of blocks."""
    size = journal_bytes(journal)
    run = subprocess.Popen(command(*arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while journal_bytes(journal) < size + blocks and run.poll() is None:
        time.sleep(0.002)
    assert run.poll() is None, run.communicate()
    run.kill()
    run.communicate()


def journal_bytes(journal: Path) -> int:
    return sum(path.stat().st_size for path in journal.glob("*.rows"))


def test_a_killed_run_goes_on_where_it_stopped_and_reports_the_same(place, verify, tmp_path: Path) -> None:
    journal, whole, resumed = tmp_path / "journal", tmp_path / "whole.json", tmp_path / "resumed.json"
    options = ["*.corridor", "*.other", "--on", "corridor", "--batch-size", "3"]
    uninterrupted = verify(*options, "--receipt", str(whole))
    arguments = ["verify", "--data-root", str(place), *options, "--journal", str(journal)]
    for _ in range(2):
        killed_after(3000, journal, arguments)
    done = verify(*options, "--journal", str(journal), "--receipt", str(resumed))
    assert done == uninterrupted._replace(stderr=uninterrupted.stderr.replace(str(whole), str(resumed)))
    before, after = (json.loads(path.read_text()) for path in (whole, resumed))
    assert after["results"] == before["results"] and after["environment"] == before["environment"]
    assert after["timing"][0]["images"] < before["timing"][0]["images"]
    assert not journal.exists()


@pytest.fixture
def journal(tmp_path: Path, monkeypatch) -> Path:
    """A journal that finished runs do not take away."""
    monkeypatch.setattr(Journal, "discard", lambda journal: None)
    return tmp_path / "journal"


def images_embedded(verify, journal: Path, *arguments: str) -> int:
    """How many images a run had to embed, beside what the journal has."""
    receipt = journal.parent / "receipt.json"
    verify(*arguments, "--journal", str(journal), "--receipt", str(receipt))
    (timing,) = json.loads(receipt.read_text())["timing"]
    return int(timing["images"])


def test_the_journal_serves_those_runs_alone_that_would_measure_the_same(verify, journal: Path) -> None:
    assert images_embedded(verify, journal, NAME) > 20
    assert images_embedded(verify, journal, NAME) == 0
    assert images_embedded(verify, journal, NAME, "--rerank") == 0  # other ranks of the same embeddings
    assert images_embedded(verify, journal, NAME, "--cameras", "ignore") == 0
    assert images_embedded(verify, journal, OTHER) > 20
    assert images_embedded(verify, journal, NAME, "--batch-size", "7") > 20


def test_the_key_of_embeddings_depends_on_code_layout_and_order_of_images(tmp_path: Path, monkeypatch) -> None:
    data, checkpoint = retrieval(tmp_path), one("osnet_x1_0.one")
    job, file = Job(checkpoint, "corridor", None, by_name=False), CheckpointFile("a" * 64, 1, "sha256")
    prepared = PreparedJob(job, data, tmp_path, file)
    layout = replace(checkpoint, layout=StateDictLayout(root="model_ema"))  # other tensors of the same file
    backwards = replace(data, gallery=data.gallery[::-1])  # the fingerprint says nothing about the order
    changed = [replace(prepared, data=backwards), replace(prepared, job=replace(prepared.job, checkpoint=layout))]
    keys = [run._make_rows_key(each, CONDITIONS) for each in (prepared, prepared, *changed)]
    monkeypatch.setattr(receipt, "__version__", "another version")
    keys.append(run._make_rows_key(prepared, CONDITIONS))
    assert keys[0] == keys[1] and len(set(keys)) == 4


def test_counts_that_were_changed_on_the_disk_are_computed_again(verify, journal: Path) -> None:
    options = (NAME, "--json", "--journal", str(journal))
    before = verify(*options).stdout
    (path,) = journal.glob("*.json")
    stored = json.loads(path.read_text())
    stored["measurement"]["hits"] = [stored["measurement"]["queries"]] * 50
    path.write_text(json.dumps(stored))
    assert verify(*options).stdout == before


def test_the_journal_tells_checkpoint_files_of_one_name_and_copies_of_a_dataset_apart(
    verify, journal: Path, tmp_path: Path, monkeypatch
) -> None:
    root = write_images(tmp_path / "copy")
    write_weights(root, NAME, seed=3)
    monkeypatch.setenv("REIDHUB_MANIFEST", str(write_manifest(root, entry(NAME, claim(rank1="20.0"), input=SMALL))))
    options = (NAME, "--data-root", str(root), "--allow-partial")
    assert images_embedded(verify, journal, *options) > 20
    assert images_embedded(verify, journal, *options) == 0
    next((root / "corridor" / "bounding_box_test").glob("0000*")).unlink()
    assert images_embedded(verify, journal, *options) > 20
    write_weights(root, NAME, seed=8)
    monkeypatch.setenv("REIDHUB_HOME", str(tmp_path / "another-home"))
    assert images_embedded(verify, journal, *options) > 20


def test_two_runs_on_one_journal_refuse_politely(verify, tmp_path: Path) -> None:
    with open_journal(tmp_path / "journal"):
        done = verify(NAME, "--journal", str(tmp_path / "journal"))
    assert done.returncode == 2 and "error: another run is using the journal" in done.stderr


def test_what_lies_beside_the_journal_is_left_alone(verify, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    (journal / "thesis.json").write_text("{}")
    verify(NAME, "--journal", str(journal))
    assert {path.name for path in journal.iterdir()} == {"thesis.json", "lock"}


def test_one_pass_gives_each_model_what_it_gets_alone(verify) -> None:
    together = json.loads(verify("*.corridor", "*.other", "--on", "corridor", "--json").stdout)
    alone = [json.loads(verify(name, "--on", "corridor", "--json").stdout)[0] for name in (NAME, OTHER)]
    assert together == alone
    assert together[0]["counts"]["per_query_sha256"] != together[1]["counts"]["per_query_sha256"]


def test_models_with_another_filter_for_resizing_share_no_images(place, verify, tmp_path: Path, monkeypatch) -> None:
    """The twin has the weights of the other; in one pass, both would get the pixels of the first."""
    bicubic = SMALL.replace("bilinear", "bicubic")
    score, file = claim(rank1="20.0"), f"[{{local: {place / OTHER}.pth}}]"
    entries = entry(OTHER, score, sources=file, input=SMALL), entry(TWIN, score, sources=file, input=bicubic)
    monkeypatch.setenv("REIDHUB_MANIFEST", str(write_manifest(tmp_path, *entries)))
    photos = sorted((place / "corridor" / "query").iterdir())

    done = verify(OTHER, TWIN, "--keep-embeddings", str(tmp_path), "--json", "--precision", "exact")

    assert [result["conditions"]["pixels"].split()[2] for result in json.loads(done.stdout)] == [
        "bilinear,",
        "bicubic,",
    ]
    for name, method in ((OTHER, Image.Resampling.BILINEAR), (TWIN, Image.Resampling.BICUBIC)):
        resized = [np.asarray(Image.open(path).convert("RGB").resize((32, 64), method)) for path in photos]
        want = reidhub.embedder(OTHER, precision="exact")(resized).numpy()
        with np.load(tmp_path / f"{name}.corridor.npz") as kept:
            assert kept["query_paths"].tolist() == [f"query/{path.name}" for path in photos]
            assert np.linalg.norm(kept["query"] - want) < 1e-5 * np.linalg.norm(want)


def test_kept_embeddings_give_the_same_scores_again(verify, tmp_path: Path) -> None:
    done = verify("*.other", "--keep-embeddings", str(tmp_path / "kept"), "--json")
    (result,) = json.loads(done.stdout)
    (path,) = (tmp_path / "kept").iterdir()
    assert path.name == f"{OTHER}.corridor.npz"
    with np.load(path) as kept:
        again = evaluate(
            *(kept[name] for name in ("query", "gallery", "query_pids", "gallery_pids", "query_camids")),
            kept["gallery_camids"],
            distance=str(kept["distance"]),
        )
        assert (str(kept["distance"]), str(kept["sha256"])) == ("cosine", result["file"]["sha256"])
        assert kept["query_paths"][0].startswith("query/") and len(kept["query_paths"]) == len(kept["query"])
    assert again.hits.tolist() == result["counts"]["hits"]
    assert (again.mAP, again.mINP) == (result["counts"]["mAP"], result["counts"]["mINP"])


def test_normalised_euclidean_ranks_as_cosine_and_is_not_comparable(verify) -> None:
    (result,) = json.loads(verify(TWIN, "--normalize", "--json").stdout)
    (cosine,) = json.loads(verify(OTHER, "--json").stdout)
    assert result["verdict"] == "not comparable" and "normalised" in result["reason"]
    assert result["counts"]["hits"] == cosine["counts"]["hits"]
    assert result["counts"]["hits"] != json.loads(verify(TWIN, "--json").stdout)[0]["counts"]["hits"]


def test_reranking_changes_ranks_and_is_not_comparable(verify) -> None:
    (result,) = json.loads(verify(NAME, "--rerank", "--json").stdout)
    (plain,) = json.loads(verify(NAME, "--json").stdout)
    assert (result["verdict"], plain["verdict"]) != (plain["verdict"], plain["verdict"])
    assert result["counts"]["mAP"] != plain["counts"]["mAP"]


def test_results_with_ignored_cameras_say_so_and_are_not_comparable(verify, tmp_path: Path) -> None:
    folders = ("--keep-embeddings", str(tmp_path), "--html", str(tmp_path), "--no-images")
    (result,) = json.loads(verify(NAME, "--cameras", "ignore", *folders, "--json").stdout)
    assert result["conditions"]["cameras"] == "ignore"
    assert result["verdict"] == "not comparable" and "ignored cameras" in result["reason"]
    with np.load(tmp_path / f"{NAME}.corridor.npz") as kept:
        arrays = [kept[name] for name in ("query", "gallery", "query_pids", "gallery_pids")]
        camids = [kept[name] for name in ("query_camids", "gallery_camids")]
        assert evaluate(*arrays, cameras="ignore").mAP == result["counts"]["mAP"] != evaluate(*arrays, *camids).mAP
    page = (tmp_path / "index.html").read_text()
    assert "images from the camera of the query count too" in page and "○ same camera" not in page


def test_another_precision_is_recorded_and_never_taken_for_this_one(
    verify, journal: Path, tmp_path: Path, monkeypatch
) -> None:
    name = "osnet_x0_25.corridor"  # deep enough for other ranks in bf16
    write_weights(tmp_path, name, seed=3)
    monkeypatch.setenv("REIDHUB_MANIFEST", str(write_manifest(tmp_path, entry(name, claim(rank1="20.0"), input=SMALL))))
    assert images_embedded(verify, journal, name) > 20
    full = json.loads((journal.parent / "receipt.json").read_text())["results"][0]
    assert images_embedded(verify, journal, name, "--precision", "bf16") > 20
    half = json.loads((journal.parent / "receipt.json").read_text())["results"][0]
    assert (full["conditions"]["precision"], half["conditions"]["precision"]) == ("fp32", "bf16")
    assert half["counts"]["per_query_sha256"] != full["counts"]["per_query_sha256"]


def test_progress_is_quiet_where_there_is_no_terminal(verify) -> None:
    assert "verify:" not in verify(NAME).stderr


def test_csv_has_the_figures_of_json_with_all_their_digits(verify, tmp_path: Path) -> None:
    options = ("*.corridor", "*.other", "--on", "corridor")
    records = list(csv.DictReader(io.StringIO(verify(*options, "--format", "csv").stdout)))
    results = json.loads(verify(*options, "--format", "json").stdout)
    figures = [(result, figure) for result in results for figure in result["figures"] if figure["reported"]]
    assert len(records) == len(figures) == 2
    for record, (result, figure) in zip(records, figures, strict=True):
        assert [record[name] for name in ("checkpoint", "dataset")] == [result["checkpoint"], result["dataset"]]
        assert (record["metric"], record["reported"]) == (figure["metric"], figure["reported"])
        assert float(record["measured"]) == figure["measured"] and int(record["hits"]) == figure["hits"]
        assert int(record["queries"]) == result["counts"]["queries"]


@pytest.mark.parametrize("form", ["csv", "markdown", "latex"])
def test_previews_and_checks_have_every_form(verify, form: str) -> None:
    preview = verify(NAME, "osnet_x1_0.msmt17", "--dry-run", "--format", form)
    check = verify(NAME, "--level", "files", "--format", form)
    assert (preview.returncode, check.returncode) == (0, 0)
    if form == "csv":
        msmt17, corridor = csv.DictReader(io.StringIO(preview.stdout))
        assert (corridor["runs"], msmt17["runs"]) == ("yes", "no") and "MSMT17" not in corridor["reason"]
        assert int(corridor["images"]) > 20 and "list_query.txt" in msmt17["reason"]
        (record,) = csv.DictReader(io.StringIO(check.stdout))
        assert record["state"] == "intact" and len(record["sha256"]) == 64 and int(record["size"]) > 100_000
    else:
        name = NAME if form == "markdown" else NAME.replace("_", r"\_")
        assert name in preview.stdout and name in check.stdout


@pytest.mark.parametrize("option", ["--receipt", "--html", "--keep-embeddings"])
def test_what_cannot_be_written_is_told_before_anything_is_measured(verify, caplog, option: str) -> None:
    with caplog.at_level(logging.INFO, logger="reidhub"):
        done = verify(NAME, "--on", "corridor", option, "/dev/null/folder/file")

    assert done.returncode == 2 and "cannot make the folder /dev/null/folder" in done.stderr
    assert "images to embed" not in caplog.text


def test_the_log_tells_what_a_pass_has_to_do(verify, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="reidhub"):
        verify("*.corridor", "*.other", "--on", "corridor")

    (job,) = json.loads(verify(NAME, "--on", "corridor", "--dry-run", "--json").stdout)
    assert f"corridor: {job['images']} images to embed, for 2 checkpoints" in caplog.text


def test_on_a_terminal_one_bar_shows_images_per_second_and_the_time_left(place: Path, reidhub_home: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    arguments = ("--manifest", str(place / "zoo.yaml"), "verify", NAME, "--data-root", str(place), "--batch-size", "8")
    run = subprocess.Popen(command(*arguments), env=environment(), stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal whose other side is closed
        while part := os.read(ours, 1 << 16):
            shown += part
    os.close(ours)
    run.wait()
    assert re.search(rb"verify: +\d+%.*/52 \[\d\d:\d\d<\d\d:\d\d, +[0-9.]+ images/s\]", shown), shown


def test_a_strict_dry_run_fails_where_something_would_not_run(verify) -> None:
    assert verify(NAME, "--on", "corridor", "--dry-run", "--strict").returncode == 0
    assert verify(NAME, "osnet_x1_0.msmt17", "--dry-run", "--strict").returncode == 1


@pytest.mark.skipif(has_bf16(torch.device("cpu")), reason="this processor has bfloat16")
def test_a_precision_that_is_only_emulated_is_told(verify) -> None:
    done = verify(NAME, "--on", "corridor", "--precision", "bf16")
    assert "note: this cpu emulates bf16, which is slow" in done.stderr
    assert "emulates" not in verify(NAME, "--on", "corridor").stderr


def test_what_can_be_done_is_said_once_for_all_that_it_holds_for(verify) -> None:
    done = verify("osnet_x1_0.msmt17", "osnet_x1_0.market1501")
    assert done.stderr.count("error: ") == 2 and done.stderr.count("hint: ") == 1


def test_a_dry_run_tells_what_is_there_and_runs_nothing(verify, reidhub_home: Path) -> None:
    done = verify(NAME, "osnet_x1_0.msmt17", "--dry-run", "--json")
    jobs = {job["dataset"]: job for job in json.loads(done.stdout)}
    assert done.returncode == 0 and [path.name for path in reidhub_home.iterdir()] == ["manifest"]
    assert jobs["corridor"]["runs"] and jobs["corridor"]["images"] > 20 and jobs["corridor"]["bytes"] > 20_000
    assert not jobs["msmt17"]["runs"] and "MSMT17_V1" in jobs["msmt17"]["expected"]
    assert jobs["msmt17"]["weights"] == {"cached": False, "size": 10_994_685}
    assert f"1 of 2 would run: {jobs['corridor']['images']} images" in done.stderr


def test_a_dry_run_counts_the_images_once_for_each_way_they_are_resized(verify, tmp_path: Path, monkeypatch) -> None:
    score, wide = claim(rank1="20.0"), SMALL.replace("width: 32", "width: 64")
    inputs = {NAME: SMALL, OTHER: wide, TWIN: wide, "tiny.cubic": SMALL.replace("bilinear", "bicubic")}
    entries = [entry(name, score, input=spec) for name, spec in inputs.items()]
    monkeypatch.setenv("REIDHUB_MANIFEST", str(write_manifest(tmp_path, *entries)))

    done = verify(*inputs, "--dry-run", "--json")

    images = json.loads(done.stdout)[0]["images"]
    assert f"4 of 4 would run: {3 * images} images to decode" in done.stderr, done.stderr
    assert f"{4 * images} embeddings" in done.stderr


def test_a_journal_that_cannot_be_written_is_named(verify, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = verify(NAME, "--journal", str(tmp_path / "file" / "journal"))
    assert done.returncode == 1 and done.stderr.splitlines()[-2].startswith("error: cannot write the journal")


def test_a_disk_that_is_full_stops_the_run_and_the_next_goes_on(place: Path, verify, tmp_path: Path) -> None:
    journal, receipt = tmp_path / "journal", tmp_path / "receipt.json"
    options = ["--data-root", str(place), NAME, "--batch-size", "3", "--journal", str(journal)]
    verify(NAME, "--level", "files")  # the checkpoint is in the cache, which has a limit of its own to meet
    limited = "ulimit -f 20; " + shlex.join(command("verify", *options))  # 20 blocks of 1024 bytes for a file
    done = subprocess.run(["bash", "-c", limited], env=environment(), capture_output=True, text=True)
    assert done.returncode == 1 and "error: cannot write the journal" in done.stderr, done.stderr
    assert "hint: make room" in done.stderr
    verify(*options[2:], "--receipt", str(receipt))
    assert 0 < json.loads(receipt.read_text())["timing"][0]["images"] < 50


def test_an_image_that_cannot_be_decoded_is_named(place: Path, verify) -> None:
    image = sorted((place / "corridor" / "bounding_box_test").iterdir())[3]
    content = image.read_bytes()
    try:
        image.write_bytes(bytes(len(content)))
        done = verify(NAME)
    finally:
        image.write_bytes(content)
    assert done.returncode == 1 and "not run" in done.stdout and f"error: {image} cannot be decoded" in done.stderr
