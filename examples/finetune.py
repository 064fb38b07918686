"""Train a re-ID model on your own images, and print its mAP before and after.

    python examples/finetune.py ~/reid/market1501/Market-1501-v15.09.15 --checkpoint osnet_x1_0.imagenet

The folder has `bounding_box_train`, `query` and `bounding_box_test`, with Market-1501's file names:
`0002_c1_000451.jpg` is person 2, seen by camera 1. For what a good recipe adds, see the docs, page Fine-tuning.
"""

import argparse
import re
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchvision.transforms.functional import normalize, pil_to_tensor

import reidhub

parser = argparse.ArgumentParser(description="Train a model, first only its new classifier, then all layers.")
parser.add_argument("folder", type=Path, help="folder with bounding_box_train, query and bounding_box_test")
start = parser.add_mutually_exclusive_group()
start.add_argument("--checkpoint", default="osnet_x0_25.imagenet", help="the weights to start from: a name or a file")
start.add_argument("--random", metavar="ARCHITECTURE", help="start from random weights, such as those of osnet_x0_25")
parser.add_argument("--size", type=int, nargs=2, default=[128, 64], help="height and width of the model's input")
parser.add_argument("--steps", type=int, default=160)
parser.add_argument("--classifier-steps", type=int, default=32, help="first steps, which train only the classifier")
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--learning-rate", type=float, default=1e-3)
parser.add_argument("--output", type=Path, default=Path("finetuned.pth"))
arguments = parser.parse_args()


class People:
    """The images of a folder, decoded and in memory, with the number of the person and of the camera of each."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob("*.jpg"))
        names = [re.match(r"(-?\d+)_c(\d+)", path.name) for path in paths]
        if not paths or not all(names):
            raise SystemExit(f"{folder} must have images with names such as 0002_c1_000451.jpg, and no others")
        self.pids = [int(name[1]) for name in names if name]
        self.camids = [int(name[2]) for name in names if name]
        self.pixels = torch.stack([read(path) for path in paths])


def read(path: Path) -> Tensor:
    """Decode and resize an image: uint8 (3, height, width)."""
    height, width = arguments.size
    with Image.open(path) as image:
        return pil_to_tensor(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))


def prepare(pixels: Tensor) -> Tensor:
    """Turn uint8 pixels into the model's input, with the mean and deviation of ImageNet."""
    return normalize(pixels.float() / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def embed(people: People) -> Tensor:
    """Compute the embeddings of all images: (N, D)."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(prepare(pixels)) for pixels in people.pixels.split(arguments.batch)])


def measure_map() -> float:
    """Rank the gallery for each query, and return the mAP in percent."""
    found = reidhub.metrics.evaluate(
        embed(query), embed(gallery), query.pids, gallery.pids, query.camids, gallery.camids
    )
    return 100 * found.mAP


def train_layers(*, only_classifier: bool) -> None:
    """Put all layers in train mode; or the classifier only, and fix all other layers."""
    model.train()
    for name, layer in model.named_children():
        trained = name.startswith("classifier") or not only_classifier
        layer.train(trained).requires_grad_(trained)


torch.manual_seed(0)
train, query, gallery = (
    People(arguments.folder / name) for name in ("bounding_box_train", "query", "bounding_box_test")
)
classes = {pid: place for place, pid in enumerate(sorted(set(train.pids)))}  # a classifier counts people from 0
labels = torch.tensor([classes[pid] for pid in train.pids])
if arguments.random:
    model = reidhub.build(arguments.random, num_classes=len(classes))
else:
    model = reidhub.load(arguments.checkpoint, num_classes=len(classes))  # the log says that the classifier is new
model.to(memory_format=torch.channels_last)  # faster on a CPU
print(f"mAP before {measure_map():.1f} %")

optimizer = torch.optim.AdamW(model.parameters(), arguments.learning_rate, weight_decay=5e-4)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.learning_rate, total_steps=arguments.steps)
order = torch.cat([torch.randperm(len(labels)) for _ in range(1 + arguments.steps * arguments.batch // len(labels))])
for step, chosen in enumerate(order.split(arguments.batch)[: arguments.steps]):
    train_layers(only_classifier=step < arguments.classifier_steps)
    images = prepare(train.pixels[chosen])
    images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images, images.flip(3))  # mirror half of the images
    loss = cross_entropy(model(images), labels[chosen], label_smoothing=0.1)  # in train mode: scores of the classes
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    print(f"step {step + 1} loss {loss.item():.3f}")
print(f"mAP after {measure_map():.1f} %")
torch.save(model.state_dict(), arguments.output)
