"""The demo: its world, its recorded scores, and a whole run in a subprocess."""

import io
import json
import re
import shlex
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image
from support.zoo_entries import reidhub

from reidhub.demo import world
from tools.demo_checkpoint import reference_evaluation


def test_the_people_of_the_training_split_appear_in_no_other():
    def seen(split):
        return {shot.figure % 2000 for shot in world.list_shots(split)}

    assert seen("train") == set(world.TRAIN_PIDS)
    assert seen("train").isdisjoint(seen("query") | seen("gallery"))


def test_every_query_has_a_match_before_another_camera():
    cameras = defaultdict(set)
    for shot in world.list_shots("gallery"):
        cameras[shot.label].add(shot.camera)
    queries = world.list_shots("query")
    assert {shot.label for shot in queries} == set(world.TEST_PIDS)
    assert all(cameras[shot.label] - {shot.camera} for shot in queries)


def test_file_names_are_those_of_market1501_and_differ():
    names = [shot.file_name for split in ("train", "query", "gallery") for shot in world.list_shots(split)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"(-1|\d{4})_c[1-4]s1_\d{6}_\d\d\.jpg", name) for name in names)
    assert {"-1", "0000"} < {name.split("_")[0] for name in names}


def test_a_shot_is_drawn_alike_each_time_and_unlike_any_other():
    shots = world.list_shots("gallery")[::60]
    files = [world.photograph(shot) for shot in shots]
    assert files == [world.photograph(shot) for shot in reversed(shots)][::-1]
    assert len(set(files)) == len(files)
    assert {Image.open(io.BytesIO(file)).size for file in files} == {(64, 128)}


def test_the_reference_evaluation_counts_a_case_worked_out_by_hand():
    query = reference_evaluation.Embedded(np.array([[0.0], [10.0]]), [(1, 1), (2, 1)])
    gallery = reference_evaluation.Embedded(
        np.array([[0.1], [1.0], [2.0], [3.0], [11.0]]),
        [(1, 1), (0, 2), (1, 2), (1, 3), (2, 1)],  # the first is of the query's own camera; pid 2 has no match left
    )
    assert reference_evaluation.count(query, gallery) == reference_evaluation.Tally(
        1, {1: 0, 5: 1, 10: 1}, (1 / 2 + 2 / 3) / 2, 2 / 3
    )


def test_the_demo_measures_its_scores_again_and_what_it_keeps_serves_on(tmp_path: Path, long: bool):
    place = tmp_path / "a place"
    done = reidhub("demo", "--keep", str(place), "--json")

    (result,) = json.loads(done.stdout)
    assert (done.returncode, result["verdict"]) == (0, "reproduced"), done.stderr
    export, verify = done.stderr.splitlines()[-2:]
    settings = dict(word.split("=", 1) for word in shlex.split(export)[2:])
    assert all(Path(path).is_relative_to(place) for path in settings.values())
    arguments = shlex.split(verify)[2:]
    again = reidhub(*arguments, "--dry-run", "--json", **settings, REIDHUB_OFFLINE="1")
    (job,) = json.loads(again.stdout)
    assert job["runs"] and job["weights"]["cached"], again.stderr
    assert result["conditions"]["engine"].split()[0] == "openvino"
    if not long:
        return
    plain = reidhub(*arguments, "--precision", "exact", "--json", **settings, REIDHUB_OFFLINE="1")
    (exact,) = json.loads(plain.stdout)
    assert exact["conditions"]["engine"].split()[0] == "torch"
    assert exact["counts"] == result["counts"]


def test_a_folder_that_cannot_be_made_is_an_error_in_words():
    done = reidhub("demo", "--keep", "/dev/null/world")

    assert done.returncode == 2 and done.stderr.startswith("error: cannot make the folder /dev/null/world")
