"""The filters and orders of ``reidhub list``, compared with a plain loop over the whole list."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.zoo_entries import checkpoints, entry, write_zoo

from reidhub.cache.store import Cache
from reidhub.cli import cli
from reidhub.download.fetch import Fetcher
from reidhub.errors import UsageError
from reidhub.zoo.manifest import zoo

Entry = dict[str, Any]


def listed(*options: str) -> list[Entry]:
    done = CliRunner().invoke(cli, ["list", *options, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def params_m(one: Entry) -> float:
    return float(one["params_m"] or round(one["computed"]["params"] / 1e6, 1))


def is_tested(one: Entry, dataset: str) -> bool:
    return any(score["dataset"] == dataset for score in one["scores"])


@pytest.mark.parametrize(
    ("options", "meets"),
    [
        (["--model", "hacnn", "--model", "mlfn"], lambda one: one["model"] in ("hacnn", "mlfn")),
        (["--trained-on", "msmt17"], lambda one: "msmt17" in one["trained_on"]),
        (["--tested-on", "cuhk03"], lambda one: is_tested(one, "cuhk03")),
        (["--max-params", "1"], lambda one: params_m(one) <= 1),
        (["*.imagenet", "--max-params", "0.5"], lambda one: one["name"].endswith(".imagenet") and params_m(one) <= 0.5),
        (
            ["--trained-on", "market1501", "--tested-on", "market1501", "--max-params", "2"],
            lambda one: "market1501" in one["trained_on"] and is_tested(one, "market1501") and params_m(one) <= 2,
        ),
    ],
)
def test_a_filter_keeps_what_meets_it_and_nothing_else(options: list[str], meets: Callable[[Entry], bool]) -> None:
    kept = [one["name"] for one in listed(*options)]
    expected = [one["name"] for one in listed() if meets(one)]
    assert kept == expected and kept


def test_with_a_tested_dataset_only_its_scores_are_listed() -> None:
    assert {score["dataset"] for one in listed("--tested-on", "market1501") for score in one["scores"]} == {
        "market1501"
    }


@pytest.mark.parametrize("metric", ["mAP", "rank1", "top1"])
def test_scores_are_sorted_from_the_best_and_missing_ones_come_last(metric: str) -> None:
    best = [
        max((float(score[metric]) for score in one["scores"] if score[metric]), default=None)
        for one in listed("--sort", metric)
    ]
    known = [value for value in best if value is not None]
    assert known == sorted(known, reverse=True) and best == known + [None] * (len(best) - len(known))


def test_the_score_on_the_tested_dataset_decides_the_order() -> None:
    options = ["--tested-on", "dukemtmcreid", "--trained-on", "msmt17", "--sort", "mAP"]
    values = [float(score["mAP"]) for one in listed(*options) for score in one["scores"]]
    assert len(values) > 5 and values == sorted(values, reverse=True)


def test_parameters_sizes_and_names_are_sorted_upwards() -> None:
    assert [params_m(one) for one in listed("--sort", "params")] == sorted(params_m(one) for one in listed())
    sizes = [one["size"] for one in listed("--sort", "size")]
    known = [size for size in sizes if size is not None]
    assert known == sorted(known) and sizes[len(known) :] == [None] * (len(sizes) - len(known))
    assert [one["name"] for one in listed("--sort", "name")] == sorted(one["name"] for one in listed())


def test_a_score_is_same_domain_exactly_if_the_dataset_was_trained_on() -> None:
    for one in listed():
        for score in one["scores"]:
            whole = score["dataset"].removesuffix("_small").removesuffix("_medium").removesuffix("_large")
            assert score["domain"] == ("same" if whole in one["trained_on"] else "cross")
    domains = {(one["name"], score["dataset"]): score["domain"] for one in listed() for score in one["scores"]}
    assert domains["osnet_x1_0.msmt17_combineall", "market1501"] == "cross"
    assert domains["osnet_x1_0.market1501", "market1501"] == "same"


def test_the_table_has_the_two_domains_in_two_columns() -> None:
    table = CliRunner().invoke(cli, ["list", "osnet_x1_0.market1501", "osnet_x1_0.msmt17_combineall"]).stdout
    header, same, cross = table.splitlines()
    place = header.index("cross-domain rank-1 (mAP)")
    assert "market1501 94.2 (82.6)" in same[:place] and "market1501" not in same[place:]
    assert "66.6 (37.5)" in cross[place:] and "66.6" not in cross[:place]


def test_list_sums_up_how_good_the_evidence_is_and_has_the_grade_of_each_sha256_in_every_form(tmp_path: Path) -> None:
    graded = {"a.one": "proven", "a.two": "single", "a.own": "", "a.size": "", "a.none": ""}
    manifest = write_zoo(
        tmp_path,
        entry("a.one", "local: one.pth", pinned=b"1", file="grade: proven"),
        entry("a.two", "local: two.pth", pinned=b"2", file="grade: single"),
        entry("a.own", "local: own.pth", pinned=b"3"),
        entry("a.size", "local: size.pth", size=7, file="grade: single"),
        entry("a.none", "local: none.pth"),
    )

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["--manifest", str(manifest), "list", *arguments])

    table, csv_table = run("a.*"), run("a.*", "--format", "csv")
    assert table.stderr == csv_table.stderr
    assert table.stderr == "5 checkpoints: 1 proven, 1 single, 1 not graded, 2 unpinned (no sha256 known)\n"
    assert {row["checkpoint"]: row["grade"] for row in csv.DictReader(csv_table.stdout.splitlines())} == graded
    header, *lines = table.stdout.splitlines()
    place = header.index("grade")
    assert {line.split()[0]: line[place : place + 8].strip() for line in lines} == graded
    assert [one["grade"] for one in json.loads(run("a.*", "--json").stdout)] == [
        *("proven", "single", None, "single", None)
    ]
    assert run("a.none").stderr == "1 checkpoint: 1 unpinned (no sha256 known)\n"


def test_cached_files_are_marked_and_nothing_is_written(tmp_path: Path, reidhub_home: Path) -> None:
    (tmp_path / "file.pth").write_bytes(b"weights")
    entries = [
        entry("a.pinned", "local: file.pth", pinned=b"weights"),
        entry("a.missing", "local: other.pth", pinned=b"other"),
        entry("b.unpinned", "local: file.pth"),
    ]
    manifest = str(write_zoo(tmp_path, *entries))
    run = CliRunner().invoke(cli, ["--manifest", manifest, "list", "--cached", "--json"])
    assert json.loads(run.stdout) == [] and [path.name for path in reidhub_home.iterdir()] == ["manifest"]

    fetcher = Fetcher(Cache())
    for checkpoint in checkpoints(tmp_path, *entries):
        if checkpoint.name != "a.missing":
            fetcher.fetch(checkpoint)
    before = {path: path.stat().st_mtime_ns for path in reidhub_home.rglob("*")}

    data = CliRunner().invoke(cli, ["--manifest", manifest, "list", "*.*pinned", "a.missing", "--json"]).stdout
    assert {one["name"]: one["cached"] for one in json.loads(data)} == {
        "a.pinned": True,
        "b.unpinned": True,
        "a.missing": False,
    }
    kept = CliRunner().invoke(cli, ["--manifest", manifest, "list", "--cached"]).stdout.splitlines()[1:]
    assert [(line.split()[0], line.split()[-1]) for line in kept] == [("a.pinned", "yes"), ("b.unpinned", "yes")]
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "osnet_x1"], "no model of the zoo is called 'osnet_x1'"),
        (["--trained-on", "market"], "no training dataset of the zoo is called 'market'"),
        (["--tested-on", "xyz"], "no dataset of the zoo is called 'xyz'"),
    ],
)
def test_an_unknown_name_is_an_error_with_a_hint(options: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        CliRunner().invoke(cli, ["list", *options], standalone_mode=False, catch_exceptions=False)
    assert "did you mean" in str(caught.value) or ", ".join(["cuhk03", "dukemtmcreid"]) in str(caught.value)


def test_a_filter_that_nothing_meets_lists_nothing() -> None:
    assert listed("--model", "hacnn", "--max-params", "1") == []
    assert len(listed("--max-params", "1000")) == len(zoo().checkpoints)


def test_multiply_adds_are_not_told_for_images_of_another_size_than_the_computed_ones() -> None:
    whole = {one["name"]: one["computed"] for one in listed("fastreid_sbs_r50_ibn.*")}
    vehicles = whole.pop("fastreid_sbs_r50_ibn.veri776")

    assert vehicles["multiply_adds"] is None
    assert {cost["multiply_adds"] for cost in whole.values()} == {6085410816}
    assert {cost["params"] for cost in whole.values()} == {vehicles["params"]}
