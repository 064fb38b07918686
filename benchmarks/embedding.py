"""Measures how many embeddings per second the embedder computes, compared with other runtimes and the plain module.

    python benchmarks/embedding.py
    python benchmarks/embedding.py osnet_x1_0 --latency
    python benchmarks/embedding.py --device cuda --batch 128 --precision bf16

All of them compute the same float32 images with the same number of threads. On a CPU, OpenVINO and ONNX Runtime first
run with several settings. Then the best setting of each runs in alternation with reidhub and the plain module. Errors
are relative to the model in float64. The share of the matrix product compares the multiply-adds per second with those
of a large matrix product in float32.

With ``--latency``, each call has one image, or one video frame of 1920x1080 with 3, 7, 12 or 20 boxes of people.
"""

import argparse
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from peers import onnxruntime_runs, openvino_runs
from side_by_side import medians, print_table, times
from torch import Tensor

from reidhub.devices import count_processors
from reidhub.inference import Embedder
from reidhub.inference.complexity import complexity
from reidhub.models import ARCHITECTURES, build
from reidhub.models.base import ReidModel
from reidhub.zoo.checkpoint import InputSpec

BOXES = (3, 7, 12, 20)
SIDE = 4096


def trained(name: str) -> ReidModel:
    """Build a model with random statistics in its normalisation layers, so that these layers work as after training."""
    torch.manual_seed(0)
    model = build(name).eval()
    for key, tensor in model.state_dict().items():
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif key.endswith("running_mean"):
            tensor.uniform_(-0.5, 0.5)
    return model


def plain(model: ReidModel, images: Tensor) -> Tensor:
    """Compute embeddings with the plain module, in float32 (on a GPU without TF32), and return them on the CPU."""
    with torch.no_grad():
        return model(images).cpu()


def make_spec(model: ReidModel) -> InputSpec:
    """Return preprocessing for the size of the model's images."""
    return InputSpec(*model.input_size, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")


def error(got: Tensor, model: ReidModel, images: Tensor) -> float:
    """Return the largest relative error of an embedding, compared with the model in float64."""
    truth = plain(model.double(), images.double()).float()
    model.float()
    return ((got - truth).norm(dim=1) / truth.norm(dim=1)).max().item()


def make_product(device: torch.device) -> Callable[[], None]:
    """Return a function that computes a matrix product in float32, with `SIDE` cubed multiply-adds."""
    a, b = torch.randn(2, SIDE, SIDE, device=device)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def product() -> None:
        torch.mm(a, b)
        wait()

    return product


def measure(name: str, given: argparse.Namespace) -> list[str]:
    """Measure one row: images per second of the embedder, and how many times as fast as the others it is."""
    model = trained(name).to(given.device)
    images = torch.randn(given.batch, 3, *model.input_size, device=given.device)
    start = time.process_time()
    embedder = Embedder.of_model(model, make_spec(model), precision=given.precision)
    got = embedder(images)
    first = time.process_time() - start
    works: dict[str, Callable[[], object]] = {"plain": lambda: plain(model, images)}
    works |= {"reidhub": lambda: embedder(images), "product": make_product(given.device)}
    chosen: dict[str, str] = {}
    if given.device.type == "cpu":
        for peer, runs in (
            ("OpenVINO", openvino_runs(model, make_spec(model))),
            ("ONNX", onnxruntime_runs(model, make_spec(model))),
        ):
            settings = {setting: lambda run=run: run(images.numpy()) for setting, run in runs.items()}
            seconds = medians(settings, rounds_of(settings, given.seconds / 4))
            chosen[peer] = min(seconds, key=seconds.__getitem__)
            works[peer] = settings[chosen[peer]]
    seconds = medians(works, rounds_of(works, given.seconds), pause_s=0.05)
    ours = seconds["reidhub"]
    speed = given.batch / ours
    share = speed * complexity(model).multiply_adds / (SIDE**3 / seconds["product"])
    return [
        name,
        f"{speed:.1f}",
        f"{seconds['plain'] / ours:.2f}",
        *(f"{seconds[peer] / ours:.2f} ({chosen[peer]})" if peer in chosen else "" for peer in PEERS),
        f"{share:.0%}",
        f"{error(got, model, images):.0e}",
        f"{first:.1f}",
    ]


PEERS = ("OpenVINO", "ONNX")


def measure_latency(name: str, given: argparse.Namespace) -> list[str]:
    """Measure one row: milliseconds of one image, and how much longer frames with boxes take than their pixels."""
    model = trained(name)
    spec = make_spec(model)
    embedder = Embedder.of_model(model, spec, precision=given.precision)
    image = torch.randn(1, 3, *model.input_size)
    works: dict[str, Callable[[], object]] = {"plain": lambda: plain(model, image), "reidhub": lambda: embedder(image)}
    latency = openvino_runs(model, spec, ("LATENCY",))["latency, 1"]
    works |= {"OpenVINO": lambda: latency(image.numpy())}
    onnx = onnxruntime_runs(model, spec, (1,))["1"]
    works |= {"ONNX": lambda: onnx(image.numpy())}
    taken = times(works, rounds_of(works, given.seconds / 2), pause_s=0.02)
    p50 = {key: float(np.percentile(values, 50)) for key, values in taken.items()}
    row = [name, f"{1000 * p50['reidhub']:.1f}", f"{1000 * float(np.percentile(taken['reidhub'], 95)):.1f}"]
    row += [f"{p50['plain'] / p50['reidhub']:.1f}", *(f"{p50[peer] / p50['reidhub']:.2f}" for peer in PEERS)]
    frame, boxes = make_frame()
    for count in BOXES:
        pixels = torch.randint(0, 256, (count, 3, *model.input_size), dtype=torch.uint8)
        works = {
            "boxes": lambda count=count: embedder.boxes(frame, boxes[:count], color="bgr"),
            "engine": lambda pixels=pixels: embedder(pixels),
        }
        seconds = medians(works, rounds_of(works, given.seconds / 8))
        row.append(f"{seconds['boxes'] / seconds['engine']:.2f}")
    return row


def make_frame() -> tuple[np.ndarray, np.ndarray]:
    """Make a BGR frame (1080, 1920, 3) of noise, and 20 boxes of people who are 120 to 250 pixels high."""
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (1080, 1920, 3)).astype(np.uint8)
    heights = random.uniform(120, 250, 20)
    left, top = random.uniform(0, 1750, 20), random.uniform(0, 800, 20)
    return frame, np.stack([left, top, left + 0.4 * heights, top + heights], 1)


def rounds_of(works: Mapping[str, Callable[[], object]], seconds: float) -> int:
    """Return how many rounds of all functions take about ``seconds`` in total, but at least three."""
    start = time.perf_counter()
    for work in works.values():
        work()
    return max(3, round(seconds / (time.perf_counter() - start)))


def main() -> None:
    """Print one row for each architecture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architectures", nargs="*", default=list(ARCHITECTURES))
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--precision", choices=["exact", "fp32", "tf32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20, help="about how long an architecture is measured")
    parser.add_argument("--latency", action="store_true", help="measure calls of one image, and boxes in frames")
    given = parser.parse_args()
    if given.device.type == "cuda":
        torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.set_num_threads(min(torch.get_num_threads(), count_processors()))
    device = f"{given.device}, {given.precision}, {count_processors()} threads"
    if given.latency:
        header = ["architecture", "p50, ms", "p95, ms", "times plain", "times OpenVINO", "times ONNX Runtime"]
        header += [f"{count} boxes" for count in BOXES]
        rows = (measure_latency(name, given) for name in given.architectures)
        print_table(f"One image, and boxes in a frame (time divided by the engine's alone): {device}", header, rows)
        return
    rows = (measure(name, given) for name in given.architectures)
    header = ["architecture", "images/s", "times plain", "times OpenVINO", "times ONNX Runtime"]
    header += ["of the matrix product", "relative error", "first call, CPU s"]
    print_table(f"Embedding: {device}, {given.batch} images", header, rows)


if __name__ == "__main__":
    main()
