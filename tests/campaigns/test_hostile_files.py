"""Hostile and damaged checkpoint files: none runs code, none takes much memory, each ends in an error of ours."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.hostile_files import hostile_files

MOST = 512  # MB above a process with torch loaded

READER = """
import json, sys
import reidhub
from reidhub import read_weights
import torch

def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(field))

base = status("VmRSS")
for path in sys.argv[1:]:
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    try:
        outcome = "read: " + ", ".join(map(str, read_weights(path)))[:100]
    except reidhub.ReidhubError as error:
        outcome = "error: " + error.message[len(path) + 2:]
    except BaseException as error:
        outcome = f"wrong error: {error!r}"[:300]
    print(json.dumps({"path": path, "outcome": outcome, "mb": status("VmHWM") - base}), flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to measure memory")
def test_no_hostile_file_runs_code_or_takes_memory_and_each_is_an_error(tmp_path, tell):
    marker = tmp_path / "marker"
    names = {}
    for number, (name, content) in enumerate(hostile_files(marker)):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(content)
        names[str(path)] = name

    done = subprocess.run([sys.executable, "-c", READER, *names], capture_output=True, text=True)

    results = [json.loads(line) for line in done.stdout.splitlines()]
    for result in results:  # shown where the test fails, or with -s
        print(f"{names[result['path']]:<45} {result['mb']:>4} MB  {result['outcome'].splitlines()[0][:110]}")
    errors = sum(result["outcome"].startswith("error: ") for result in results)
    most = max(result["mb"] for result in results)
    tell(f"{len(names)} hostile files: {errors} errors of ours, code ran: {marker.exists()}, most memory {most} MB")
    assert (done.returncode, len(results)) == (0, len(names)), done.stderr[-2000:]
    assert not marker.exists()
    assert [names[r["path"]] for r in results if not r["outcome"].startswith("error: ")] == []
    assert [names[r["path"]] for r in results if r["mb"] > MOST] == []
