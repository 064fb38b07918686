"""The script that tries the commands on every system runs here too, and without torch."""

import os
import subprocess
import sys
from pathlib import Path

from support.paths import ROOT


def test_the_light_commands_work_where_torch_cannot_be_imported(tmp_path: Path):
    for name in ("torch", "torchvision"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('there is no torch here')\n")
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    environment = {**os.environ, "PYTHONPATH": path}

    blocked = subprocess.run([sys.executable, "-c", "import torch"], env=environment, capture_output=True, text=True)
    script = ROOT / "tools" / "try_commands.py"
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)

    assert "there is no torch here" in blocked.stderr
    assert (done.returncode, done.stdout) == (0, "list, show, download, cache list and cache check work\n"), done.stderr
