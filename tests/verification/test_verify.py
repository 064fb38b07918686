"""Plans, verdicts, and a whole run on a small world, compared with a reference that shares no code with it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.html_pages import read
from support.reports import CONDITIONS
from support.verify_runs import NAME, Done, claim, counted, entry, run_here, write_images, write_manifest, write_weights

from reidhub.datasets import WITHOUT_READER
from reidhub.errors import DatasetError, UnknownCheckpointError, UsageError
from reidhub.verification.measurement import Measurement
from reidhub.verification.plan import Plan, Selection, plan
from reidhub.verification.results import DatasetCopy
from reidhub.verification.verdicts import compare_figures, judge, why_not_comparable
from reidhub.zoo.checkpoint import Score
from reidhub.zoo.manifest import zoo
from tools.demo_checkpoint import reference_evaluation


def planned(selectors: list[str], datasets: Sequence[str] = (), *, everything: bool = False) -> Plan:
    return plan(Selection.of(zoo(), selectors, everything=everything), datasets)


@pytest.mark.parametrize(
    "printed, measured, verdict",
    [
        ("94.2", "94.15", "reproduced"),
        ("94.2", "94.2499999999", "reproduced"),
        ("94.2", "94.25", "close"),
        ("94.2", "94.1499999999", "close"),
        ("94.2", "94.3", "close"),
        ("94.2", "94.1", "close"),
        ("94.2", "94.3000000001", "deviates"),
        ("94.2", "94.0999999999", "deviates"),
        ("87.0", "86.95", "reproduced"),
        ("87.0", "87.4", "deviates"),
        ("87", "87.4", "reproduced"),
        ("87", "86.5", "reproduced"),
        ("87", "87.5", "deviates"),
        ("69.45", "69.455", "close"),
        ("69.45", "69.4549", "reproduced"),
        ("69.45", "69.55", "close"),
    ],
)
def test_the_printed_digits_are_the_claim(printed: str, measured: str, verdict: str) -> None:
    assert judge(Score("market1501", {"rank1": printed}, "a table"), "rank1", Fraction(measured)) == verdict


def copy(name: str = "msmt17", version: str | None = "V1", partial: str | None = None) -> DatasetCopy:
    return DatasetCopy(name, "MSMT17", version, "0" * 64, partial, {"query": 1})


def test_a_score_is_comparable_on_a_whole_copy_of_the_right_version_alone() -> None:
    score = Score("msmt17", {"rank1": "74.9"}, "a table")

    def why(score: Score | None, copy: DatasetCopy, **changes: Any) -> str | None:
        return why_not_comparable(score, copy, replace(CONDITIONS, **changes))

    assert why(score, copy()) is None
    assert why(score, copy("market1501", None)) is None
    assert "V2; published figures are on V1" in str(why(score, copy(version="V2")))
    assert why(score, copy("cuhk03", "detected")) is None
    assert "labeled; published figures are on detected" in str(why(score, copy("cuhk03", "labeled")))
    assert "partial copy: 3 missing" in str(why(score, copy(partial="3 missing")))
    assert "re-ranking" in str(why(score, copy(), rerank=True))
    assert "normalised" in str(why(score, copy(), normalize=True))
    assert "ignored cameras" in str(why(score, copy(), cameras="ignore"))
    assert "no figure is published" in str(why(None, copy()))
    foreign = Score("msmt17", {"rank1": "74.9"}, "a table", not_comparable="another recipe")
    assert why(foreign, copy()) == "another recipe"


def test_every_reason_why_a_score_is_not_comparable_is_given() -> None:
    foreign = Score("msmt17", {"rank1": "74.9"}, "a table", not_comparable="another recipe")
    changed = replace(CONDITIONS, cameras="ignore", rerank=True)
    assert why_not_comparable(foreign, copy(version="V2", partial="3 missing"), changed) == (
        "another recipe; measured on MSMT17 V2; published figures are on V1; "
        "measured with re-ranking and ignored cameras; published figures are without; partial copy: 3 missing"
    )
    assert why_not_comparable(None, copy(), changed) == (
        "no figure is published for msmt17; measured with re-ranking and ignored cameras"
    )


def test_a_metric_that_a_dataset_does_not_have_is_not_measured() -> None:
    classified = Measurement((1, 0, 2), (), (), 3, (1, 2, 2, 2, 2), None, None, 512)
    score = Score(
        "imagenet", {"rank1": "33.3", "rank10": "90.0", "mAP": "50.0", "mINP": "9.0", "top5": "66.7"}, "a table"
    )
    found = {figure.metric: (figure.measured, figure.verdict) for figure in compare_figures(score, classified)}
    assert found.pop("top1") == (pytest.approx(100 / 3), None)
    assert found.pop("top5") == (pytest.approx(200 / 3), "reproduced")
    assert found == dict.fromkeys(("rank1", "rank10", "mAP", "mINP"), (None, "not comparable"))

    retrieved = Measurement((1, 2), (1.0, 0.5), (1.0, 0.5), 2, (1, *[2] * 49), 0.75, 0.75, 512)
    (*_, top1) = compare_figures(Score("msmt17", {"top1": "50.0"}, "a table"), retrieved)
    assert (top1.metric, top1.measured, top1.verdict) == ("top1", None, "not comparable")


def test_all_plans_every_reported_score_and_imagenet_for_every_classifier() -> None:
    jobs = planned([], everything=True).jobs
    reported = {(c.name, score.dataset) for c in zoo().checkpoints for score in c.scores}
    assert {job.key for job in jobs if job.score} == reported
    classifiers = {(c.name, "imagenet") for c in zoo().checkpoints if c.tag == "imagenet"}
    assert {job.key for job in jobs if not job.score} == classifiers - reported
    assert len({job.key for job in jobs}) == len(jobs)
    assert not any(job.by_name for job in jobs)


def test_an_exact_name_counts_as_asked_for_and_a_glob_does_not() -> None:
    jobs = planned(["osnet_x1_0.market1501", "*.market1501", "osnet_x0_5"]).jobs
    assert {job.checkpoint.name for job in jobs if job.by_name} == {"osnet_x1_0.market1501", "osnet_x0_5.msmt17"}
    market = {c.name for c in zoo().checkpoints if c.tag == "market1501" and c.scores}
    assert {job.checkpoint.name for job in jobs} == market | {"osnet_x0_5.msmt17"}


def test_on_a_dataset_only_what_is_reported_there_or_was_asked_for_by_name() -> None:
    jobs = planned(["osnet_x1_0.*"], ["market1501"]).jobs
    assert {job.checkpoint.tag for job in jobs} == {"market1501", "msmt17_combineall", "ms_d_c"} and all(
        j.score for j in jobs
    )
    (job,) = planned(["osnet_x1_0.market1501"], ["dukemtmcreid"]).jobs
    assert (job.score, job.by_name) == (None, True)


@pytest.mark.parametrize(
    "selectors, datasets, everything, error",
    [
        ([], [], False, UsageError),
        (["osnet_x1_0.msmt17"], [], True, UsageError),
        (["osnet_x9_9"], [], False, UnknownCheckpointError),
        (["osnet_x1_0.msmt17"], ["market1502"], False, DatasetError),
        (["*.imagenet"], ["msmt17"], False, UsageError),
    ],
)
def test_a_plan_of_nothing_or_of_unknown_things_is_an_error(selectors, datasets, everything, error) -> None:
    with pytest.raises(error):
        planned(selectors, datasets, everything=everything)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root and a checkpoint file."""
    folder = tmp_path_factory.mktemp("corridor")
    write_images(folder)
    write_weights(folder, NAME, seed=3)
    return folder


@pytest.fixture(scope="module")
def tally(place: Path) -> reference_evaluation.Tally:
    """What the referee counts."""
    return counted(place / f"{NAME}.pth", place)


@pytest.fixture(scope="module")
def figures(tally: reference_evaluation.Tally) -> dict[str, float]:
    """The same as percentages."""
    return tally.percentages()


@pytest.fixture
def verify(place: Path, monkeypatch, capsys) -> Callable[..., Done]:
    """Runs ``reidhub verify`` with a manifest of one checkpoint and these figures of it."""

    def run(figures: dict[str, str], *arguments: str, root: Path = place, **fields: str) -> Done:
        manifest = write_manifest(place, entry(NAME, claim(**figures) if figures else "", **fields))
        monkeypatch.setenv("REIDHUB_MANIFEST", str(manifest))
        return run_here(monkeypatch, capsys, "verify", *arguments, "--data-root", str(root))

    return run


def printed(figures: dict[str, float], points: float = 0.0) -> dict[str, str]:
    return {metric: f"{value + points:.1f}" for metric, value in figures.items()}


def test_true_scores_are_reproduced_with_hit_counts(verify, tally: reference_evaluation.Tally, tmp_path: Path) -> None:
    receipt, figures = tmp_path / "receipt.json", tally.percentages()
    done = verify(printed(figures), NAME, "--json", "--receipt", str(receipt))
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert (result["checkpoint"], result["dataset"], result["verdict"]) == (NAME, "corridor", "reproduced")
    assert {f["metric"]: f["hits"] for f in result["figures"] if f["hits"]} == {
        f"rank{rank}": hits for rank, hits in tally.hits.items()
    }
    assert {f["metric"]: f["measured"] for f in result["figures"]} == pytest.approx(figures, abs=1e-3)
    assert result["counts"]["queries"] == tally.queries
    assert result["copy"]["fingerprint"] and result["file"]["sha256"] and len(result["counts"]["cmc"]) == 50
    written = json.loads(receipt.read_text())
    assert written["results"] == [result] and written["environment"]["versions"]["torch"]


def test_a_score_that_is_too_high_deviates_and_the_exit_code_says_so(verify, figures: dict[str, float]) -> None:
    done = verify(printed(figures, 0.5), NAME)
    assert done.returncode == 1, done.stderr
    assert "deviates" in done.stdout and "reproduced" not in done.stdout
    assert done.stdout.splitlines()[0].split()[:3] == ["checkpoint", "dataset", "metric"]


def test_nothing_is_left_of_a_finished_run_but_the_cached_file_and_the_parsed_manifest(
    verify, figures, reidhub_home: Path
) -> None:
    assert verify(printed(figures), NAME).returncode == 0
    assert {path.parent.name for path in reidhub_home.rglob("*") if path.is_file()} <= {
        "files",
        "locks",
        "manifest",
        "pins",
    }


def test_a_dataset_that_is_not_there_fails_by_name_and_is_listed_by_glob(verify, tmp_path: Path) -> None:
    by_name = verify({"rank1": "50.0"}, NAME, root=tmp_path)
    assert by_name.returncode == 1 and "not run" in by_name.stdout
    assert "error: corridor: no folder with" in by_name.stderr
    by_glob = verify({"rank1": "50.0"}, "*.corridor", root=tmp_path)
    assert by_glob.returncode == 0 and "not run" in by_glob.stdout and "error: " not in by_glob.stderr
    assert verify({"rank1": "50.0"}, "*.corridor", "--strict", root=tmp_path).returncode == 1


def test_datasets_without_a_reader_are_listed_as_not_run_with_the_reason(verify, figures, tmp_path: Path) -> None:
    values = 'rank1: "97.0", rank5: "98.0", mAP: "81.9", mINP: "46.3"'
    score = claim(**printed(figures))
    scores = f"[{score}, {{dataset: veri776, {values}, source: a}}, {{dataset: vehicleid_large, {values}, source: b}}]"
    receipt, report = tmp_path / "receipt.json", tmp_path / "report"
    files = ("--receipt", str(receipt), "--html", str(report), "--no-images")
    unread = ("--on", "veri776", "--on", "vehicleid_large")

    by_name = verify({}, NAME, *files, "--json", scores=scores)
    by_glob = verify({}, "*.corridor", *unread, scores=scores)

    results = json.loads(by_name.stdout)
    reasons = [
        "veri776: reidhub has no reader for VeRi-776",
        "vehicleid_large: reidhub has no reader for the large test set of VehicleID",
    ]
    assert [one["verdict"] for one in results] == ["reproduced", "not run", "not run"]
    assert [one["reason"] for one in results[1:]] == reasons
    assert {f["metric"]: f["verdict"] for f in results[1]["figures"] if f["reported"]} == dict.fromkeys(
        ("rank1", "rank5", "mAP", "mINP"), "not run"
    )
    assert (by_name.returncode, by_glob.returncode) == (1, 0)
    assert all(f"error: {reason}\n" in by_name.stderr and reason in by_glob.stdout for reason in reasons)
    assert "hint: to write a reader, see the docs, page Extend reidhub" in by_name.stderr
    assert "error" not in by_glob.stderr
    assert verify({}, "*.corridor", *unread, "--strict", scores=scores).returncode == 1
    assert json.loads(receipt.read_text())["results"] == results
    page = " ".join((report / "index.html").read_text().split())
    assert all(reason in page for reason in reasons)


def test_a_dry_run_lists_datasets_without_a_reader(verify, tmp_path: Path) -> None:
    scores = "[" + ", ".join(f'{{dataset: {name}, rank1: "97.0", source: a}}' for name in WITHOUT_READER) + "]"

    done = verify({}, NAME, "--dry-run", "--json", scores=scores)
    table = verify({}, "--all", "--on", "veriwild_small", "--dry-run", scores=scores)

    jobs = json.loads(done.stdout)
    assert (done.returncode, [job["dataset"] for job in jobs]) == (0, list(WITHOUT_READER))
    for job in jobs:
        assert (job["runs"], job["images"], job["expected"]) == (False, 0, None)
        assert job["missing"] == f"{job['dataset']}: reidhub has no reader for {WITHOUT_READER[job['dataset']]}"
    assert table.returncode == 0 and "has no reader for the small test set of VERI-Wild" in table.stdout
    assert "None" not in table.stdout + table.stderr + done.stderr
    (other,) = json.loads(verify({}, NAME, "--dry-run", "--json", scores=scores.replace("veri776", "hallway")).stdout)[
        :1
    ]
    assert (other["dataset"], other["runs"]) == ("hallway", False) and "no dataset is called" in other["missing"]
    unknown = verify({}, NAME, "--on", "veriwild_huge", "--dry-run", scores=scores)
    assert unknown.returncode == 2 and "no dataset is called 'veriwild_huge'" in unknown.stderr
    assert verify({}, NAME, "--dry-run", "--strict", scores=scores).returncode == 1


@pytest.mark.parametrize("metric", ["rank5", "mINP"])
def test_every_printed_score_is_compared(verify, figures, metric: str) -> None:
    done = verify(printed(figures) | {metric: f"{figures[metric] - 3:.1f}"}, NAME, "--json")

    (result,) = json.loads(done.stdout)
    deviating = [figure["metric"] for figure in result["figures"] if figure["verdict"] == "deviates"]
    assert (done.returncode, deviating) == (1, [metric])


def test_a_data_root_that_does_not_exist_is_a_usage_error(verify, tmp_path: Path) -> None:
    done = verify({}, "osnet_x1_0.market1501", root=tmp_path / "nowhere")
    assert done.returncode == 2 and done.stderr.startswith("error: the data root") and "hint: " in done.stderr


def test_weights_that_cannot_be_had_or_do_not_fit_are_named(verify, figures: dict[str, float]) -> None:
    missing = verify(printed(figures), NAME, sources="[{local: elsewhere.pth}]")
    assert missing.returncode == 1 and "elsewhere.pth" in missing.stderr and "not run" in missing.stdout
    misfit = verify(printed(figures), NAME, num_classes="6")
    assert misfit.returncode == 1 and "tensors do not fit" in misfit.stderr and "not run" in misfit.stdout


def test_a_partial_copy_is_refused_or_makes_scores_incomparable(verify, figures, tmp_path: Path) -> None:
    root = write_images(tmp_path / "data")
    next((root / "corridor" / "bounding_box_test").glob("0000*")).unlink()
    refused = verify(printed(figures), NAME, root=root)
    assert refused.returncode == 1 and "is not Corridor as published" in refused.stderr
    allowed = verify(printed(figures), NAME, "--allow-partial", "--json", root=root)
    (result,) = json.loads(allowed.stdout)
    assert allowed.returncode == 0 and result["verdict"] == "not comparable"
    assert result["reason"].startswith("partial copy: gallery") and result["figures"][0]["measured"] is not None


def test_a_partial_copy_is_described_once_and_named_in_each_row(verify, figures, tmp_path: Path) -> None:
    root = write_images(tmp_path / "data")
    next((root / "corridor" / "bounding_box_test").glob("0000*")).unlink()
    report = tmp_path / "report"
    done = verify(printed(figures), NAME, "--allow-partial", "--html", str(report), "--no-images", root=root)

    rows = done.stdout.splitlines()[1:]
    assert len(rows) == 5 and all(row.endswith("not comparable  partial copy") for row in rows)
    assert done.stderr.count("note: partial copy of corridor: gallery: expected") == 1
    notes = read((report / "index.html").read_text()).one("table", id="figures").all("td", "note")
    assert [note.text for note in notes] == ["partial copy"] * 5


def test_a_score_of_another_kind_of_dataset_is_an_error_in_the_manifest(verify) -> None:
    done = verify({"rank1": "50.0", "top5": "90.0"}, NAME)
    assert done.returncode == 1 and "not run" in done.stdout
    assert "zoo.yaml:2: corridor has no metric top5\nhint: metrics of a classification are top1" in done.stderr


def test_a_checkpoint_trained_on_all_images_is_never_scored_on_them(verify) -> None:
    done = verify({}, NAME, "--on", "corridor", "--json", combineall="true")
    (result,) = json.loads(done.stdout)
    assert done.returncode == 1 and (result["verdict"], result["counts"]) == ("not comparable", None)


def test_without_a_reported_score_what_is_measured_is_shown(verify, figures: dict[str, float]) -> None:
    done = verify({}, NAME, "--on", "corridor", "--json")
    (result,) = json.loads(done.stdout)
    assert done.returncode == 0 and result["verdict"] == "not comparable"
    assert {f["metric"]: f["measured"] for f in result["figures"]} == pytest.approx(figures, abs=1e-3)


def test_the_inverse_negative_penalty_is_shown_only_if_it_or_nothing_is_published(verify) -> None:
    done = verify({"rank1": "50.0"}, NAME, "--json")
    (result,) = json.loads(done.stdout)
    assert [f["metric"] for f in result["figures"]] == ["rank1", "rank5", "rank10", "mAP", "mINP"]
    assert result["figures"][4]["measured"] == 100 * result["counts"]["mINP"] > 0
    assert "mINP" not in verify({"rank1": "50.0"}, NAME).stdout
    assert "mINP" in verify({}, NAME, "--on", "corridor").stdout
