"""The scripts that made the demo's checkpoint still start, and the recorded files are what they write."""

import json
import subprocess
import sys

import yaml
from support.paths import ROOT

from reidhub.demo import COUNTS, DATA, FILE_NAME, MANIFEST
from tools.demo_checkpoint.record import write_manifest
from tools.demo_checkpoint.reference_evaluation import Tally


def test_the_training_script_starts_from_the_root_of_the_repository():
    command = [sys.executable, "-m", "tools.demo_checkpoint.train", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 0, done.stderr
    assert "Train the demo checkpoint" in done.stdout


def test_the_recorded_manifest_is_the_one_that_the_script_writes_for_the_recorded_counts():
    counts = json.loads((DATA / COUNTS).read_text())
    hits = {int(k): hits for k, hits in counts["hits"].items()}
    tally = Tally(counts["queries"], hits, counts["precision"], counts["penalty"])
    printed = {metric: f"{figure:.1f}" for metric, figure in tally.percentages().items()}
    recorded = (DATA / MANIFEST).read_text()

    assert write_manifest((DATA / FILE_NAME).read_bytes(), printed) == recorded
    (checkpoint,) = yaml.safe_load(recorded)["checkpoints"]
    assert [checkpoint["scores"][0][metric] for metric in printed] == list(printed.values())
