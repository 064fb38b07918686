"""Writes manifests for tests, and runs ``reidhub`` in its own process."""

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
    """Make the manifest entry of one checkpoint.

    Args:
        name: name of the checkpoint.
        sources: ``kind: location`` of each source.
        pinned: content of the file; the entry then has its sha256 and size.
        size: the size alone, without a sha256.
        file: a further field of ``file``, as YAML.
    """
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
    """Write a manifest of some entries, and return its path."""
    file = folder / "own.yaml"
    file.write_text("checkpoints:\n" + "".join(entries), encoding="utf-8")
    return file


def checkpoints(folder: Path, *entries: str) -> list[Checkpoint]:
    """Write a manifest of some entries, read it, and return the checkpoints."""
    return list(read_manifest([write_zoo(folder, *entries)]).checkpoints)


def reidhub(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``reidhub`` in its own process, and return its exit code and output."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "reidhub", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
