"""Manifests of a test's own, and the command line that reads them, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from reidhub.files.digest import Digest
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import read_manifest

FILE_ID = "1-CaioD9NaqbHK_kzSMW8VE4_3KcsRjEo"
DRIVE = f"https://drive.google.com/uc?id={FILE_ID}"


def entry(name: str, *sources: str, pinned: bytes | None = None, size: int | None = None, file: str = "") -> str:
    """One checkpoint; ``sources`` as ``kind: location``, ``pinned`` to the digest of a content."""
    fields = [file] if file else []
    if pinned is not None:
        fields += [f"sha256: {Digest.of_bytes(pinned)}", f"size: {len(pinned)}"]
    fields += [f"size: {size}"] if size is not None else []
    fields += ["evidence: made for this test"] if pinned is not None or size is not None else []
    kind_and_place = [source.split(": ", 1) for source in sources]
    return f"""\
  - name: {name}
    model: {name.rpartition(".")[0]}
    trained_on: [market1501]
    num_classes: 751
    file: {{{", ".join(fields)}}}
    sources: [{", ".join(f'{{{kind}: "{place}"}}' for kind, place in kind_and_place)}]
    input: {{height: 256, width: 128, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], interpolation: bilinear}}
    distance: euclidean
    params_m: "0.1"
    gflops: null
    loss: softmax
    transforms: [random_flip]
    scores: []
    licence: free
    notices: [made up]
"""


def write_zoo(folder: Path, *entries: str) -> Path:
    """A manifest file of these checkpoints."""
    file = folder / "own.yaml"
    file.write_text("checkpoints:\n" + "".join(entries), encoding="utf-8")
    return file


def checkpoints(folder: Path, *entries: str) -> list[Checkpoint]:
    """The same, read."""
    return list(read_manifest([write_zoo(folder, *entries)]).checkpoints)


def reidhub(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``reidhub`` with these arguments, run to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "reidhub", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
