"""Trains the demo checkpoint: ``python -m tools.demo_checkpoint.train FOLDER`` takes some minutes on two cores.

The script writes the checkpoint, its manifest and the recorded counts into FOLDER. Another processor may compute other
weights, and then the sha256 and the scores differ too. The files in `reidhub/demo/data` are the result of one run.
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
from reidhub.models import build
from tools.demo_checkpoint.record import record

SEED = 1
BATCH = 64
KEPT_CLASSES = 32  # rows of the classifier in the file: embeddings need none, and few rows keep the file below 1 MB
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training.

    Args:
        epochs: number of passes over the training split.
        height: height of the images, in pixels.
        width: width of the images, in pixels.
        learning_rate: the highest learning rate.
        augmented: True to change colours and to erase random boxes.
    """

    epochs: int
    height: int
    width: int
    learning_rate: float
    augmented: bool


PHASES = (
    Phase(9, 128, 64, 2e-3, augmented=False),
    Phase(8, 128, 64, 2e-3, augmented=True),
    Phase(5, 256, 128, 1e-3, augmented=True),
)
"""The first phases use the size of the image files, which makes a step four times as fast; the last phase uses the size
of the models. The first phase has no augmentation: with augmentation, a new model learns nothing for hundreds of
steps."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path) -> None:
    """Train the demo checkpoint, score it, and write the checkpoint and its scores into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    model = train()
    save(model, folder / FILE_NAME)
    for line in record(folder):
        click.echo(line)


def train() -> nn.Module:
    """Build a model and train it in all phases."""
    images, labels = load_split()
    model: nn.Module = build("osnet_x0_25", len(world.TRAIN_PIDS)).to(memory_format=torch.channels_last)
    for phase in PHASES:
        _run(phase, model, images, labels)
    return model


def load_split() -> tuple[Tensor, Tensor]:
    """Generate the images of the training split, and return them with their labels.

    Returns:
        Pixels uint8 (N, 3, H, W), and labels int64 (N,) that start at 0.
    """
    shots = world.list_shots("train")
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
            logits = model(_prepare(images[batch], phase))
            loss = functional.cross_entropy(logits, labels[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        mean = sum(losses) / len(losses)
        click.echo(f"{phase.height}x{phase.width} epoch {epoch + 1} of {phase.epochs}: loss {mean:.3f}", err=True)


def _prepare(images: Tensor, phase: Phase) -> Tensor:
    """Make the input of a phase, float32 (N, 3, height, width), from uint8 images (N, 3, H, W)."""
    pixels = shift(images.float() / 255)
    if phase.augmented:
        pixels = augment(pixels)
    pixels = functional.interpolate(normalise(pixels), (phase.height, phase.width), mode="bilinear")
    return pixels.contiguous(memory_format=torch.channels_last)


def normalise(pixels: Tensor) -> Tensor:
    """Normalise pixels in [0, 1] with the mean and standard deviation of ImageNet."""
    return (pixels - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_STD)[:, None, None]


def shift(pixels: Tensor) -> Tensor:
    """Mirror about half of the images (N, 3, H, W), and move each by up to 8 pixels vertically and 4 horizontally."""
    count, _, height, width = pixels.shape
    rows = torch.arange(height) + torch.randint(17, (count, 1))
    columns = torch.arange(width) + torch.randint(9, (count, 1))
    columns = torch.where(torch.rand(count, 1) < 0.5, columns, columns.flip(1))
    padded = functional.pad(pixels, (4, 4, 8, 8)).permute(0, 2, 3, 1)
    moved = padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def augment(pixels: Tensor) -> Tensor:
    """Change brightness and colours of images (N, 3, H, W) in [0, 1]; 40 % of them also get a box of one colour."""
    count, _, height, width = pixels.shape
    pixels = pixels * _draw_factors(1, 0.25, count, 1) * _draw_factors(1, 0.18, count, 3)
    pixels = ((pixels - 0.5) * _draw_factors(1, 0.3, count, 1) + _draw_factors(0.5, 0.08, count, 1)).clamp(0, 1)
    rows = _draw_spans(count, height, 48) & (torch.rand(count, 1) < 0.4)
    box = rows[:, None, :, None] & _draw_spans(count, width, 34)[:, None, None, :]
    return torch.where(box, torch.rand(count, 3, 1, 1), pixels)


def _draw_factors(centre: float, spread: float, count: int, channels: int) -> Tensor:
    return centre + spread * (2 * torch.rand(count, channels, 1, 1) - 1)


def _draw_spans(count: int, length: int, longest: int) -> Tensor:
    """Draw a mask, bool (count, length): True in a random span of each row, ``longest`` / 3 to ``longest`` long."""
    span = torch.randint(longest // 3, longest + 1, (count, 1))
    start = torch.randint(length - longest, (count, 1))
    places = torch.arange(length)
    return (places >= start) & (places < start + span)


def save(model: nn.Module, path: Path) -> None:
    """Write the state dict like the published files: float32, in the format that torch used before zip archives.

    The file has only the first `KEPT_CLASSES` rows of the classifier.
    """
    state = {name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}
    for name in ("classifier.weight", "classifier.bias"):
        state[name] = state[name][:KEPT_CLASSES].clone()
    torch.save(state, path, _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
