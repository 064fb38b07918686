"""Writes manifests for tests together with their checkpoint files, which have random weights."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from reidhub.models import build
from reidhub.zoo import manifest
from support.hostile_files import saved

INPUT = "{height: 64, width: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], interpolation: bilinear}"


@dataclass(frozen=True)
class Entry:
    """One checkpoint of a manifest.

    Args:
        name: ``model.tag``; the file is called ``model.tag.pth``.
        content: bytes of the file; None for no file.
        trained_on: names of one or more datasets, separated by commas.
        classes: number of classes in the manifest; None if the manifest does not have it.
        pinned: True if the manifest has the sha256.
        mega: a Mega link for the manifest, from which no test downloads; None for no link.
    """

    name: str
    content: bytes | None
    trained_on: str = "market1501"
    classes: int | None = None
    pinned: bool = True
    mega: str | None = None

    def text(self) -> str:
        sha256 = hashlib.sha256(self.content or b"").hexdigest()
        file = f"sha256: {sha256}, evidence: computed here" if self.pinned else ""
        mega = f'{{mega: "{self.mega}"}}, ' if self.mega else ""
        return f"""
  - name: {self.name}
    model: {self.name.partition(".")[0]}
    trained_on: [{self.trained_on}]
    num_classes: {"null" if self.classes is None else self.classes}
    file: {{{file}}}
    sources: [{mega}{{local: {self.name}.pth}}]
    input: {INPUT}
    distance: euclidean
    params_m: null
    gflops: null
    loss: softmax
    transforms: []
    scores: []
    licence: MIT"""


def write_zoo(folder: Path, *entries: Entry) -> str:
    """Write the files and their manifest, and return the manifest's path for ``$REIDHUB_MANIFEST``."""
    for entry in entries:
        if entry.content is not None:
            (folder / f"{entry.name}.pth").write_bytes(entry.content)
    file = folder / "own.yaml"
    file.write_text("checkpoints:" + "".join(entry.text() for entry in entries) + "\n")
    return str(file)


def replace_zoo(folder: Path, monkeypatch: pytest.MonkeyPatch, default: Entry, other: Entry) -> None:
    """Replace the whole zoo of a test by an architecture, its default checkpoint, and another checkpoint."""
    file = Path(write_zoo(folder, default, other))
    model = default.name.partition(".")[0]
    described = f"{{name: {model}, paper: none, starts_from: scratch, input: {INPUT}, default: {default.name}}}"
    file.write_text(f"architectures: [{described}]\n{file.read_text()}")
    monkeypatch.setattr("reidhub.zoo.manifest.folder", lambda: folder)
    monkeypatch.setattr("reidhub.zoo.manifest._zoo", manifest._zoo.__wrapped__)


def state_of(architecture: str, classes: int, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Draw random weights for an architecture; equal seeds give equal weights."""
    torch.manual_seed(seed)
    return build(architecture, classes).state_dict()


def file_of(architecture: str, classes: int, *, seed: int = 0, **how: Any) -> bytes:
    """Return a checkpoint file with the weights of `state_of`; ``how`` are arguments of `saved`."""
    return saved(state_of(architecture, classes, seed=seed), **how)
