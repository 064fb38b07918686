"""Manifests of a test's own whose checkpoints lie beside them: models with weights drawn here, saved as published."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reidhub.models import build
from support.hostile_files import saved


@dataclass(frozen=True)
class Entry:
    """One checkpoint of a manifest.

    Args:
        name: ``model.tag``; the file has the same name.
        content: bytes of the file; None for no file.
        trained_on: one or more datasets.
        classes: as the manifest says it; None where it does not.
        pinned: the manifest tells the sha256.
        mega: a Mega link, never used to download.
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
    input: {{height: 64, width: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], interpolation: bilinear}}
    distance: euclidean
    params_m: null
    gflops: null
    loss: softmax
    transforms: []
    scores: []
    licence: MIT"""


def write_zoo(folder: Path, *entries: Entry) -> str:
    """Write the files and a manifest of them; its path, as ``$REIDHUB_MANIFEST`` wants it."""
    for entry in entries:
        if entry.content is not None:
            (folder / f"{entry.name}.pth").write_bytes(entry.content)
    manifest = folder / "own.yaml"
    manifest.write_text("checkpoints:" + "".join(entry.text() for entry in entries) + "\n")
    return str(manifest)


def state_of(architecture: str, classes: int, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of an architecture, drawn here; the same for the same seed."""
    torch.manual_seed(seed)
    return build(architecture, classes).state_dict()


def file_of(architecture: str, classes: int, *, seed: int = 0, **how: Any) -> bytes:
    """The same, as `torch.save` writes it."""
    return saved(state_of(architecture, classes, seed=seed), **how)
