"""Trains the demo checkpoint: ``python -m reidhub.demo.train FOLDER``, some minutes on two cores.

Writes the checkpoint, its manifest and the recorded counts into FOLDER. Another processor may end at other weights, and
so at another sha256 and other scores; the files in `reidhub/demo/data` are those of one run.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from reidhub.demo import FILE_NAME, world
from reidhub.demo.record import record
from reidhub.models import build

SEED = 1
BATCH = 64
KEPT_CLASSES = 32  # rows of the classifier in the file: no embedding needs them, and the file stays below 1 MB
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training: size of the pixels, and the highest learning rate."""

    epochs: int
    height: int
    width: int
    learning_rate: float


PHASES = (Phase(16, 128, 64, 3e-3), Phase(6, 256, 128, 1e-3))
"""Most is learnt at the size of the files, where a step costs a quarter; the end at the size the models are used at."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path) -> None:
    """Train the demo checkpoint, score it and write both into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    model = train()
    save(model, folder / FILE_NAME)
    for line in record(folder):
        click.echo(line)


def train() -> nn.Module:
    """A model that has seen the training split in every phase."""
    images, labels = load_split()
    model: nn.Module = build("osnet_x0_25", len(world.TRAIN_PIDS)).to(memory_format=torch.channels_last)
    for phase in PHASES:
        _run(phase, model, images, labels)
    return model


def load_split() -> tuple[Tensor, Tensor]:
    """The training split: uint8 (N, 3, H, W), and int64 (N,) labels from 0."""
    shots = list(world.shots("train"))
    pixels = [np.array(Image.open(io.BytesIO(world.photograph(shot)))) for shot in shots]
    labels = torch.tensor([shot.label - world.TRAIN_PIDS.start for shot in shots])
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), labels


def _run(phase: Phase, model: nn.Module, images: Tensor, labels: Tensor) -> None:
    steps = len(images) // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), phase.learning_rate, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, phase.learning_rate, total_steps=phase.epochs * steps, pct_start=0.2
    )
    model.train()
    for epoch in range(phase.epochs):
        losses = []
        for batch in torch.randperm(len(images))[: steps * BATCH].reshape(steps, BATCH):
            pixels = functional.interpolate(augment(images[batch]), (phase.height, phase.width), mode="bilinear")
            logits = model(pixels.contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, labels[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        mean = sum(losses) / len(losses)
        click.echo(f"{phase.height}x{phase.width} epoch {epoch + 1} of {phase.epochs}: loss {mean:.3f}", err=True)


def augment(images: Tensor) -> Tensor:
    """Images as another camera may have taken them, normalised.

    Args:
        images: uint8 (N, 3, H, W).

    Returns:
        float32 of the same shape.
    """
    count = len(images)
    pixels = images.float() / 255
    flipped = torch.rand(count) < 0.5
    pixels[flipped] = pixels[flipped].flip(-1)
    pixels = pixels * _around(1, 0.25, count, 1) * _around(1, 0.18, count, 3)
    pixels = (pixels - 0.5) * _around(1, 0.3, count, 1) + _around(0.5, 0.08, count, 1)
    pixels = torch.stack([_erase(_shift(image)) for image in pixels.clamp(0, 1)])
    return (pixels - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_STD)[:, None, None]


def _around(centre: float, spread: float, count: int, channels: int) -> Tensor:
    return centre + spread * (2 * torch.rand(count, channels, 1, 1) - 1)


def _shift(image: Tensor) -> Tensor:
    """Moved by at most 8 pixels up or down and 4 to a side."""
    _, height, width = image.shape
    top, left = _below(17), _below(9)
    return functional.pad(image, (4, 4, 8, 8))[:, top : top + height, left : left + width]


def _erase(image: Tensor) -> Tensor:
    """Two of five images lose a box to a plain colour."""
    if _below(5) < 2:
        top, left = _below(80), _below(30)
        image[:, top : top + 15 + _below(34), left : left + 10 + _below(24)] = torch.rand(3, 1, 1)
    return image


def _below(bound: int) -> int:
    return int(torch.randint(bound, ()))


def save(model: nn.Module, path: Path) -> None:
    """Write the state dict as the published files have it: float32, in the format from before zip archives.

    The classifier is cut to its first `KEPT_CLASSES` rows.
    """
    state = {name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}
    for name in ("classifier.weight", "classifier.bias"):
        state[name] = state[name][:KEPT_CLASSES].clone()
    torch.save(state, path, _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
