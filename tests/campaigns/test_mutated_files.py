"""Mutated checkpoint files: each is read or is an error of ours, and none runs code or changes how others are read."""

import json
import subprocess
import sys

from support.mutated_files import MOST_MB

SEED = 1207


def test_every_mutated_file_is_read_or_refused_and_does_nothing_else(tmp_path, long, tell):
    count = 3000 if long else 150
    command = [sys.executable, "-m", "support.mutated_files", str(SEED), str(count), str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-2000:]
    *faults, counts = map(json.loads, done.stdout.splitlines())
    tell(
        f"{count} mutated files from {counts['bases']}: {counts['read']} read, {counts['refused']} refused,"
        f" {len(faults)} faults; {counts['mb']} MB more memory"
    )
    assert faults == []
    assert counts["bases read"] >= counts["bases"] - 1  # one old file holds a whole module
    assert counts["read"] + counts["refused"] == count
    assert min(counts["read"], counts["refused"]) > count // 20, "the mutations hit too little, or too much"
    assert counts["mb"] < MOST_MB
