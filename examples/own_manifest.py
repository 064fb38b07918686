"""Write a manifest for a checkpoint file of your own, so that every command and function can use it by a name.

    python examples/own_manifest.py finetuned.pth osnet_x1_0.mine > mine.yaml
    export REIDHUB_MANIFEST=$PWD/mine.yaml
    reidhub show osnet_x1_0.mine

`docs/manifest.md` explains the fields.
"""

import argparse
import sys
from pathlib import Path

import yaml

import reidhub

parser = argparse.ArgumentParser(description="Write a manifest for a checkpoint file.")
parser.add_argument("file", type=Path)
parser.add_argument("name", help="architecture, a dot, a tag of your choice: osnet_x1_0.mine")
parser.add_argument("--trained-on", default="market1501")
arguments = parser.parse_args()

found = reidhub.doctor(arguments.file)  # reads the file without running code from it
model = arguments.name.partition(".")[0]
if found.architecture != model:
    sys.exit(f"{arguments.file} is not {model}: {found.problem or found.architecture}")
published = reidhub.find(model)[0]  # another checkpoint of this architecture: it has the same input size
entry = {
    "name": arguments.name,
    "model": model,
    "trained_on": [arguments.trained_on],
    "num_classes": found.num_classes,
    "file": {"sha256": found.sha256, "size": found.size, "evidence": "computed from my own file"},
    "sources": [{"local": arguments.file.absolute().as_uri()}],
    "input": {
        "height": published.input.height,
        "width": published.input.width,
        "mean": list(published.input.mean),
        "std": list(published.input.std),
        "interpolation": published.input.interpolation,
    },
    "distance": published.distance,
    "params_m": None,
    "gflops": None,
    "loss": "softmax",
    "transforms": [],
    "scores": [],
    "licence": "my own",
}
yaml.safe_dump({"checkpoints": [entry]}, sys.stdout, sort_keys=False)
