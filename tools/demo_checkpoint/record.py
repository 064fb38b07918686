"""Writes the manifest of the demo checkpoint, and the counts from which its scores are computed."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from reidhub.demo import COUNTS, FILE_NAME, MANIFEST, world
from reidhub.errors import WeightsError
from reidhub.files.digest import Digest
from reidhub.models import build
from reidhub.testing import mega_link
from tools.demo_checkpoint import reference_evaluation

NAME = "osnet_x0_25.demo_world"
MEGA_HANDLE, DRIVE_ID = "dEmoW0rL", "1dEmOwOrLdOsNeTx0l25wEiGhTsAaBbCc"
_MARGIN = (
    0.005  # percentage points from a mean to the next x.x5, where rounding changes; rounding errors are far smaller
)


def record(folder: Path) -> Iterator[str]:
    """Score the checkpoint in a folder, and write its manifest and counts into the same folder.

    Args:
        folder: contains the checkpoint file, with the name `FILE_NAME`.

    Yields:
        One line of text for each figure.

    Raises:
        WeightsError: mAP or mINP is so close to a rounding limit (x.x5) that another machine could print another digit.
    """
    content = (folder / FILE_NAME).read_bytes()
    with TemporaryDirectory(prefix="reidhub-demo-") as root:
        world.write_images(Path(root), ("query", "gallery"))
        tally = score(folder / FILE_NAME, Path(root))
        counts = asdict(tally) | {"world_sha256": str(world.compute_digest(Path(root)))}
    figures = tally.percentages()
    for metric in ("mAP", "mINP"):
        if abs(figures[metric] * 10 % 1 - 0.5) < 10 * _MARGIN:
            raise WeightsError(f"{metric} {figures[metric]:.4f} is on a rounding edge", hint="train with another seed")
    printed = {metric: f"{figure:.1f}" for metric, figure in figures.items()}
    (folder / MANIFEST).write_text(write_manifest(content, printed))
    (folder / COUNTS).write_text(json.dumps(counts, indent=1) + "\n")
    yield from (f"{metric} {figure}" for metric, figure in printed.items())


def score(checkpoint: Path, root: Path) -> reference_evaluation.Tally:
    """Score a checkpoint file on the query and gallery images below ``root``."""
    state = torch.load(checkpoint, weights_only=True)
    model = build("osnet_x0_25", len(state["classifier.bias"]))
    model.load_state_dict(state, strict=True)
    return reference_evaluation.score(model, root / world.FOLDERS["query"], root / world.FOLDERS["gallery"])


def write_manifest(content: bytes, scores: dict[str, str]) -> str:
    """Return the text of the demo's manifest, which has one checkpoint.

    Args:
        content: bytes of the checkpoint file.
        scores: metric -> percentage as it is printed.
    """
    figures = "\n".join(f'        {metric}: "{figure}"' for metric, figure in scores.items())
    return _TEMPLATE.format(
        name=NAME,
        file_name=FILE_NAME,
        sha256=Digest.of_bytes(content),
        size=len(content),
        mega=mega_link(MEGA_HANDLE, content),
        drive=f"https://drive.google.com/uc?id={DRIVE_ID}",
        figures=figures,
    )


_TEMPLATE = """\
# The checkpoint of `reidhub demo`. Written by `python -m tools.demo_checkpoint.train`;
# its links lead to loopback hosts only.
checkpoints:
  - name: {name}
    model: osnet_x0_25
    trained_on: [demo_world]
    from_scratch: true
    num_classes: 32
    file:
      original: {file_name}
      sha256: {sha256}
      size: {size}
      evidence: "computed when the file was written"
    sources:
      - mega: "{mega}"
      - gdrive: "{drive}"
    input: {{height: 256, width: 128, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], interpolation: bilinear}}
    distance: euclidean
    params_m: null
    gflops: null
    loss: softmax
    transforms: [random_flip, random_crop, color_jitter, random_erase]
    scores:
      - dataset: demo_world
{figures}
        source: "counted by tools/demo_checkpoint/reference_evaluation.py, apart from the code that verifies"
    licence: MIT
"""
