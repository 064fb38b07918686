"""Measures a warm load, compared with the usual way: default initialisation, `torch.load`, `load_state_dict`.

    python benchmarks/loading.py

Warm means: the file is already in the cache and checked, and torch is imported. The weights are random, because their
values do not change the time.
"""

import argparse
import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
from side_by_side import medians, print_table

import reidhub
from reidhub.models import ARCHITECTURES, build
from reidhub.models.base import ReidModel
from reidhub.zoo.manifest import folder


def publish(scratch: Path) -> Path:
    """Write a checkpoint file and a manifest with its sha256, and return the path of the checkpoint file."""
    file = scratch / "weights.pth"
    torch.save(build("osnet_x1_0", 1041).state_dict(), file)
    text = (folder() / "osnet.yaml").read_text()
    layout = re.search(r"input: &input (\{.*\})", text)
    if layout is None:
        raise SystemExit("manifest/osnet.yaml no longer says what the input is")
    (scratch / "own.yaml").write_text(
        "checkpoints:\n- {name: osnet_x1_0.benchmark, model: osnet_x1_0, trained_on: [msmt17], num_classes: 1041,\n"
        f"   file: {{sha256: {hashlib.sha256(file.read_bytes()).hexdigest()}, evidence: made here}},\n"
        f"   sources: [{{local: weights.pth}}], input: {layout[1]}, distance: euclidean, params_m: null,\n"
        "   gflops: null, loss: null, transforms: [], scores: [], licence: none}\n"
    )
    return file


def usual(file: Path) -> ReidModel:
    """Load in the usual way: build the model with default initialisation, then replace its tensors by the file's."""
    module, _, name = ARCHITECTURES["osnet_x1_0"].partition(":")
    model: ReidModel = getattr(import_module(module), name)(1041)
    model.load_state_dict(torch.load(file, weights_only=True))
    return model.eval()


def read(model: ReidModel) -> None:
    """Read every weight, as a first batch does; this reads memory-mapped weights from the disk."""
    for tensor in model.state_dict().values():
        tensor.sum()


def main() -> None:
    """Print one row for the load alone, and one for the load followed by one reading of every weight."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {"REIDHUB_HOME": scratch, "REIDHUB_MANIFEST": str(Path(scratch) / "own.yaml")}
        file = publish(Path(scratch))
        ways = {"usual": lambda: usual(file), "load": lambda: reidhub.load("osnet_x1_0.benchmark")}
        works: dict[str, Callable[[], object]] = dict(ways)
        works |= {f"{name}, read": lambda way=way: read(way()) for name, way in ways.items()}
        seconds = medians(works, rounds)
        same = all(map(torch.equal, *(way().state_dict().values() for way in ways.values())))
    rows = []
    for name, suffix in (("osnet_x1_0", ""), ("osnet_x1_0, then every weight read once", ", read")):
        theirs, ours = seconds["usual" + suffix], seconds["load" + suffix]
        rows.append((name, f"{theirs * 1e3:.1f}", f"{ours * 1e3:.1f}", f"{theirs / ours:.1f}", "yes" if same else "NO"))
    print_table("Warm load", ("model", "usual way, ms", "`reidhub.load`, ms", "ratio", "same tensors"), rows)


if __name__ == "__main__":
    main()
