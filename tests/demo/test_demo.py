"""The demo: its world, its recorded scores, and the whole road in a process of its own."""

import io
import json
import re
import shlex
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.zoo_entries import reidhub

from reidhub.demo import world
from reidhub.testing import jpeg_encoder
from tools.demo_checkpoint import reference_evaluation


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        return np.asarray(image).astype(int)


def waves(u: int, v: int) -> np.ndarray:
    """One frequency alone in every 8x8 block: all its other coefficients are zeros."""
    y, x = np.mgrid[:64, :32]
    grey = 128 + 100 * np.cos((2 * (y % 8) + 1) * u * np.pi / 16) * np.cos((2 * (x % 8) + 1) * v * np.pi / 16)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("u, v", [(0, 0), (0, 1), (5, 2), (0, 7), (7, 0), (7, 7)])
def test_runs_of_zeros_of_every_length_decode(u, v):
    pixels = waves(u, v)
    assert np.abs(decoded(jpeg_encoder.encode(pixels)) - pixels).max() <= 12


@pytest.mark.parametrize("grain", [0, 40, 400])
def test_pillow_decodes_an_image_close_to_the_encoded_one(grain):
    y, x = np.mgrid[:128, :64]
    noise = grain * (np.random.RandomState(1).random_sample((128, 64, 3)) - 0.5)
    pixels = np.clip(np.stack([y, 2 * x, 255 - x - y], axis=-1) + noise, 0, 255).astype(np.uint8)
    error = decoded(jpeg_encoder.encode(pixels)) - pixels
    assert np.sqrt((error**2).mean()) < 5


def test_an_image_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="multiples of 8"):
        jpeg_encoder.encode(np.zeros((12, 8, 3), dtype=np.uint8))


def test_the_people_of_the_training_split_appear_in_no_other():
    def seen(split):
        return {shot.figure % 2000 for shot in world.shots(split)}

    assert seen("train") == set(world.TRAIN_PIDS)
    assert seen("train").isdisjoint(seen("query") | seen("gallery"))


def test_every_query_has_a_match_before_another_camera():
    cameras = defaultdict(set)
    for shot in world.shots("gallery"):
        cameras[shot.label].add(shot.camera)
    queries = list(world.shots("query"))
    assert {shot.label for shot in queries} == set(world.TEST_PIDS)
    assert all(cameras[shot.label] - {shot.camera} for shot in queries)


def test_file_names_are_those_of_market1501_and_differ():
    names = [shot.file_name for split in ("train", "query", "gallery") for shot in world.shots(split)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"(-1|\d{4})_c[1-4]s1_\d{6}_\d\d\.jpg", name) for name in names)
    assert {"-1", "0000"} < {name.split("_")[0] for name in names}


def test_a_shot_is_drawn_alike_each_time_and_unlike_any_other():
    shots = list(world.shots("gallery"))[::60]
    files = [world.photograph(shot) for shot in shots]
    assert files == [world.photograph(shot) for shot in reversed(shots)][::-1]
    assert len(set(files)) == len(files)
    assert all(decoded(file).shape == (128, 64, 3) for file in files)


def test_the_referee_counts_a_case_worked_out_by_hand():
    query = reference_evaluation.Embedded(np.array([[0.0], [10.0]]), [(1, 1), (2, 1)])
    gallery = reference_evaluation.Embedded(
        np.array([[0.1], [1.0], [2.0], [3.0], [11.0]]),
        [(1, 1), (0, 2), (1, 2), (1, 3), (2, 1)],  # the first is of the query's own camera; pid 2 has no match left
    )
    assert reference_evaluation.count(query, gallery) == reference_evaluation.Tally(
        1, {1: 0, 5: 1, 10: 1}, (1 / 2 + 2 / 3) / 2
    )


def test_the_demo_measures_its_scores_again_and_what_it_keeps_serves_on(tmp_path: Path):
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


def test_a_folder_that_cannot_be_made_is_an_error_in_words():
    done = reidhub("demo", "--keep", "/dev/null/world")

    assert done.returncode == 2 and done.stderr.startswith("error: cannot make the folder /dev/null/world")
