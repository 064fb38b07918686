"""Start training from a checkpoint: a new classifier on ImageNet weights, cross-entropy, a few steps.

    python examples/finetune.py ~/reid/market1501/Market-1501-v15.09.15/bounding_box_train

This shows how reidhub fits into a training loop. A good recipe needs more: a schedule, augmentation, a triplet loss.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

import reidhub

parser = argparse.ArgumentParser(description="Train a new classifier and the backbone for a few steps.")
parser.add_argument("folder", type=Path, help="images whose names begin with the person's number and `_`")
parser.add_argument("--checkpoint", default="osnet_x1_0.imagenet")
parser.add_argument("--steps", type=int, default=100)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--output", type=Path, default=Path("finetuned.pth"))
arguments = parser.parse_args()


class People(Dataset[tuple[torch.Tensor, int]]):
    """Image files of a folder; the label of a person is the index of its number in the sorted list of numbers."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.jpg"))
        self.numbers = sorted({path.name.split("_")[0] for path in self.paths})
        self.transform = reidhub.transform(arguments.checkpoint)  # the checkpoint's own size, mean and deviation

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path = self.paths[index]
        with Image.open(path) as image:
            return self.transform(image), self.numbers.index(path.name.split("_")[0])


torch.manual_seed(0)
people = People(arguments.folder)
model = reidhub.load(arguments.checkpoint, num_classes=len(people.numbers)).train()  # logs the untrained layers
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
loader = DataLoader(people, arguments.batch, shuffle=True, drop_last=len(people) > arguments.batch)
step = 0
while step < arguments.steps:
    for images, labels in loader:
        loss = cross_entropy(model(images), labels)  # in train mode, a model returns logits
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        print(f"step {step} loss {loss.item():.3f}")
        if step == arguments.steps:
            break
torch.save(model.state_dict(), arguments.output)
