"""Makes a small zoo and a small dataset, ``corridor``, with real JPEG and checkpoint files, for runs of `verify`."""

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

from reidhub.cli import main
from reidhub.datasets import DATASETS, Counts, RetrievalSet
from reidhub.datasets.folders import find_root
from reidhub.datasets.market1501 import read_layout
from reidhub.demo import world
from reidhub.models import ARCHITECTURES, build
from reidhub.models.base import ReidModel
from reidhub.zoo import manifest
from support import tiny_model
from support.paths import GUARD, ROOT
from tools.demo_checkpoint import reference_evaluation

FOLDER = "corridor, with query and bounding_box_test in it"
_PIDS = set(list(world.TEST_PIDS)[:5]) | {0, -1}
_RUN = """
from reidhub.cli import main
from reidhub.datasets import DATASETS
from reidhub.models import ARCHITECTURES
from support import tiny_model
DATASETS["corridor"] = "support.verify_runs:read"
ARCHITECTURES["tiny"] = tiny_model.ENTRY
main()
"""
NAME = "tiny.corridor"
INPUT = "{height: 256, width: 128, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], interpolation: bilinear}"
SMALL = "{height: 64, width: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], interpolation: bilinear}"
"""A small input size, which saves time in tests for which the size does not matter."""


class Done(NamedTuple):
    """The exit code and the output of a command."""

    returncode: int
    stdout: str
    stderr: str


def shots(split: str) -> list[world.Shot]:
    chosen = [shot for shot in world.list_shots(split) if shot.label in _PIDS]
    return [shot for place, shot in enumerate(chosen) if shot.label > 0 or place % 24 == 0]


def read(data_root: Path, *, allow_partial: bool = False) -> RetrievalSet:
    root = find_root("corridor", data_root, ("corridor",), ("query", "bounding_box_test"))
    counts = {split: _counts(shots(split)) for split in ("query", "gallery")}
    return read_layout(root, name="corridor", title="Corridor", counts=counts, allow_partial=allow_partial)


def _counts(wanted: list[world.Shot]) -> Counts:
    scored = [shot for shot in wanted if shot.label >= 0]
    return Counts(len(scored), len({shot.label for shot in scored}), len({shot.camera for shot in scored}))


def write_images(root: Path) -> Path:
    """Write the images of ``corridor`` below ``root``, and return ``root`` as the data root."""
    for split in ("query", "gallery"):
        folder = root / "corridor" / world.FOLDERS[split]
        folder.mkdir(parents=True)
        for shot in shots(split):
            (folder / shot.file_name).write_bytes(world.photograph(shot))
    return root


def write_weights(folder: Path, name: str, seed: int, classes: int = 5) -> Path:
    """Write a checkpoint file of untrained weights; its batch statistics are such that embeddings of images differ."""
    torch.manual_seed(seed)
    model = make_model(name.partition(".")[0], classes)
    for key, tensor in model.state_dict().items():
        if key.endswith("running_var"):
            tensor.uniform_(0.2, 0.6)
        elif key.endswith("running_mean"):
            tensor.normal_(0, 0.05)
    path = folder / f"{name}.pth"
    torch.save(model.state_dict(), path)
    return path


def make_model(architecture: str, classes: int) -> ReidModel:
    """Make a model of the zoo or a `tiny_model.Tiny`, with random weights."""
    return tiny_model.Tiny(classes) if architecture == "tiny" else build(architecture, classes)


def entry(name: str, score: str, **fields: Any) -> str:
    """Make a manifest entry; ``score`` is a YAML mapping in braces, and ``fields`` replace or add lines."""
    lines = {
        "name": name,
        "model": name.partition(".")[0],
        "trained_on": "[corridor]",
        "num_classes": 5,
        "file": "{original: untrained.pth}",
        "sources": f"[{{local: {name}.pth}}]",
        "input": INPUT,
        "distance": "euclidean",
        "params_m": "null",
        "gflops": "null",
        "loss": "null",
        "transforms": "[]",
        "scores": f"[{score}]" if score else "[]",
        "licence": "MIT",
    }
    return "".join(f"{'  - ' if key == 'name' else '    '}{key}: {value}\n" for key, value in (lines | fields).items())


def write_manifest(folder: Path, *entries: str) -> Path:
    path = folder / "zoo.yaml"
    path.write_text("checkpoints:\n" + "".join(entries))
    return path


def claim(**values: str) -> str:
    """Make a reported score on ``corridor`` as a YAML mapping in braces."""
    figures = ", ".join(f'{metric}: "{value}"' for metric, value in values.items())
    return f"{{dataset: corridor, {figures}, source: the tests}}"


def counted(weights: Path, root: Path, classes: int = 5, architecture: str = "tiny") -> reference_evaluation.Tally:
    """Score a checkpoint file with `reference_evaluation`, which shares no code with the verification."""
    model = make_model(architecture, classes)
    model.load_state_dict(torch.load(weights, weights_only=True))
    return reference_evaluation.score(model, root / "corridor" / "query", root / "corridor" / "bounding_box_test")


def run_here(monkeypatch: Any, capsys: Any, *arguments: str) -> Done:
    """Run ``reidhub`` in this process, with ``corridor`` and ``tiny``; ``$REIDHUB_MANIFEST`` is read again."""
    monkeypatch.setitem(DATASETS, "corridor", "support.verify_runs:read")
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny_model.ENTRY)
    monkeypatch.setattr(sys, "argv", ["reidhub", *arguments])
    manifest._zoo.cache_clear()
    capsys.readouterr()
    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    return Done(code, *capsys.readouterr())


def command(*arguments: str) -> list[str]:
    """Return the command that runs ``reidhub`` in another process, with ``corridor`` and ``tiny``."""
    return [sys.executable, "-c", _RUN, *arguments]


def environment() -> dict[str, str]:
    """Return the environment for the process of `command`, so that it can import this module."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(GUARD), str(ROOT), str(ROOT / "tests")])}
