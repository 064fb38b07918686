"""Every job that writes, on a real disk with every amount of free room: an error in words, and nothing half written."""

import json
from pathlib import Path

from support.full_disks import run_on_small_disk


def test_every_job_ends_well_or_with_an_error_in_words_on_a_full_disk(tmp_path: Path, long, tell) -> None:
    disk, material = tmp_path / "disk", tmp_path / "material"
    disk.mkdir()
    material.mkdir()
    step = 1 if long else 8
    code = f"import sys; from support.full_disk_jobs import main; main(sys.argv[1], {str(material)!r}, '{step}')"

    done = run_on_small_disk(disk, 8192, code)

    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    tell(f"full disks, first in steps of {4 * step} kB: {counts}")
    assert all(ends["complete"] == 1 for ends in counts.values())
    assert all(ends["full"] > 0 for name, ends in counts.items() if not name.startswith("lock"))
