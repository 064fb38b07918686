"""Tries the commands that need no torch: ``python tools/try_commands.py``.

reidhub must be installed; no network is needed, because a local server replaces Mega. Each command runs in its own
process and must end with exit code 0.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from reidhub.testing import Internet, Mega, mega_link

NAME = "osnet_x0_25.tried"
CONTENT = b"\x80\x02" + bytes(range(256)) * 1000
LINK = mega_link("tRyCmNdS", CONTENT)
MANIFEST = f"""\
checkpoints:
  - name: {NAME}
    model: osnet_x0_25
    trained_on: [market1501]
    num_classes: null
    file: {{size: {len(CONTENT)}, evidence: made by this script}}
    sources: [{{mega: "{LINK}"}}]
    input: {{height: 256, width: 128, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], interpolation: bilinear}}
    distance: euclidean
    params_m: null
    gflops: null
    loss: softmax
    transforms: []
    scores: []
    licence: MIT
"""


def main() -> None:
    """Run the commands one after the other; the first failure ends the script."""
    with TemporaryDirectory(prefix="reidhub-try-") as name, Internet(Mega({LINK: CONTENT}).hosts) as internet:
        folder = Path(name)
        manifest = folder / "own.yaml"
        manifest.write_text(MANIFEST, encoding="utf-8")
        settings = {"REIDHUB_HOME": str(folder / "cache"), "REIDHUB_MANIFEST": str(manifest), "PYTHONUTF8": "1"}
        environment = {**os.environ, **internet.environment, **settings}
        assert NAME in [checkpoint["name"] for checkpoint in json.loads(run("list", "--json", environment=environment))]
        assert NAME in run("list", environment=environment)
        assert LINK in run("show", NAME, environment=environment)
        assert Path(run("download", NAME, environment=environment).strip()).read_bytes() == CONTENT
        assert NAME in run("cache", "list", environment=environment)
        run("cache", "check", environment=environment)
    sys.stdout.write("list, show, download, cache list and cache check work\n")


def run(*arguments: str, environment: dict[str, str]) -> str:
    """Run ``reidhub`` and return its output; if it fails, end this script and print the error."""
    command = [sys.executable, "-m", "reidhub", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(f"reidhub {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
