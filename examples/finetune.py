"""Train a re-ID model on your own images, and print its mAP before and after.

    python examples/finetune.py ~/reid/market1501/Market-1501-v15.09.15 --checkpoint osnet_x1_0.imagenet

The folder has `bounding_box_train`, `query` and `bounding_box_test`, with Market-1501's file names:
`0002_c1_000451.jpg` is person 2, seen by camera 1. docs/finetuning.md says what a good recipe adds.
"""

import argparse
import re
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

import reidhub

parser = argparse.ArgumentParser(description="Train a new classifier and the backbone for a few steps.")
parser.add_argument("folder", type=Path, help="folder with bounding_box_train, query and bounding_box_test")
parser.add_argument("--checkpoint", default="osnet_x0_25.imagenet", help="the weights to start from")
parser.add_argument("--steps", type=int, default=40)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--learning-rate", type=float, default=5e-4)
parser.add_argument("--output", type=Path, default=Path("finetuned.pth"))
arguments = parser.parse_args()


class People(Dataset[tuple[Tensor, int, int]]):
    """The images of a folder, with the number of the person and of the camera of each."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.jpg"))
        names = [re.match(r"(-?\d+)_c(\d+)", path.name) for path in self.paths]
        if not self.paths or not all(names):
            raise SystemExit(f"{folder} must have images with names such as 0002_c1_000451.jpg, and no others")
        self.pids = [int(name[1]) for name in names if name]
        self.camids = [int(name[2]) for name in names if name]
        self.transform = reidhub.transform(arguments.checkpoint)  # the checkpoint's own size, mean and deviation

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        with Image.open(self.paths[index]) as image:
            return self.transform(image), self.pids[index], self.camids[index]


def embed(people: People) -> Tensor:
    """Compute the embeddings of all images: (N, D)."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(images) for images, _, _ in DataLoader(people, arguments.batch)])


def measure_map() -> float:
    """Rank the gallery for each query, and return the mAP in percent."""
    found = reidhub.metrics.evaluate(
        embed(query), embed(gallery), query.pids, gallery.pids, query.camids, gallery.camids
    )
    return 100 * found.mAP


torch.manual_seed(0)
train, query, gallery = (
    People(arguments.folder / name) for name in ("bounding_box_train", "query", "bounding_box_test")
)
classes = {pid: place for place, pid in enumerate(sorted(set(train.pids)))}  # a classifier counts people from 0
model = reidhub.load(arguments.checkpoint, num_classes=len(classes))  # the new classifier is untrained; the log says so
print(f"mAP before {measure_map():.1f} %")

optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.learning_rate, total_steps=arguments.steps)
loader = DataLoader(train, arguments.batch, shuffle=True, drop_last=len(train) > arguments.batch)
step = 0
while step < arguments.steps:
    for images, pids, _ in loader:
        model.train()
        labels = torch.tensor([classes[pid] for pid in pids.tolist()])
        loss = cross_entropy(model(images), labels, label_smoothing=0.1)  # in train mode, a model returns class scores
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        step += 1
        print(f"step {step} loss {loss.item():.3f}")
        if step == arguments.steps:
            break
print(f"mAP after {measure_map():.1f} %")
torch.save(model.state_dict(), arguments.output)
