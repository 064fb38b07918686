"""Measures how many embeddings per second the embedder computes, compared with the plain module in eval mode.

The embedder and the plain PyTorch module use the same number of threads and get the same images in one call. The
embedder may split the images into smaller batches.

    python benchmarks/embedding.py
    python benchmarks/embedding.py osnet_x1_0 --steps
    python benchmarks/embedding.py --device cuda --batch 128 --precision bf16

The first call reuses the compiled code that earlier runs have stored. With ``--steps``, single steps of a plan and
combinations of steps are measured; reidhub/inference/plans.yaml records which steps were chosen.

The last column divides the fastest time by the least time that memory traffic needs. For this least time, each
convolution and linear layer reads its input and weights once and writes its output once, at the speed at which this
device copies memory.
"""

import argparse
import time
from collections.abc import Callable, Mapping

import torch
from side_by_side import medians, print_table
from torch import Tensor
from traffic import bytes_passed, copy_speed

from reidhub.inference import Embedder, EmbedderPlan, plan_for
from reidhub.models import ARCHITECTURES, build
from reidhub.models.base import ReidModel
from reidhub.torch_settings import count_processors
from reidhub.zoo.checkpoint import InputSpec

STEPS = {
    "folded": {"channels_last": False, "compile": False},
    "channels last": {"fold": False, "compile": False},
    "both": {"compile": False},
    "both, 8 at once": {"compile": False, "batch": 8},
    "compiled": {},
    "compiled, 8 at once": {"batch": 8},
    "compiled, 16 at once": {"batch": 16},
}


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


def measure(name: str, given: argparse.Namespace, bytes_per_s: float) -> list[str]:
    """Measure one row of the table: speed of the plain module, ratios, largest error, first call, memory traffic."""
    model = trained(name).to(given.device)
    spec = InputSpec(*model.input_size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
    steps = {step: EmbedderPlan(**{"batch": given.batch, **parts}) for step, parts in STEPS.items()}
    plans = steps if given.steps else {"embedder": plan_for(name, given.device.type)}
    fast = {step: Embedder.of_model(model, spec, precision=given.precision, plan=plan) for step, plan in plans.items()}
    images = torch.randn(given.batch, 3, *model.input_size, device=given.device)
    want, first, errors = plain(model, images), 0.0, []
    for embedder in fast.values():
        start = time.perf_counter()
        got = embedder(images)
        first = max(first, time.perf_counter() - start)
        errors.append(((got - want).norm() / want.norm()).item())
    works: dict[str, Callable[[], object]] = {"plain": lambda: plain(model, images)}
    works |= {step: lambda embedder=embedder: embedder(images) for step, embedder in fast.items()}
    seconds = medians(works, rounds_of(works, given.seconds))
    ratios = [f"{seconds['plain'] / seconds[step]:.2f}" for step in fast]
    width = 2 if given.precision == "bf16" else 4
    bound = bytes_passed(model, images, width) / bytes_per_s
    share = f"{min(seconds[step] for step in fast) / bound:.1f}"
    return [name, f"{given.batch / seconds['plain']:.1f}", *ratios, f"{max(errors):.0e}", f"{first:.0f}", share]


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
    parser.add_argument("--precision", choices=["exact", "fp32", "bf16"], default="fp32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20, help="about how long an architecture is measured")
    parser.add_argument("--steps", action="store_true", help="measure each step by itself")
    given = parser.parse_args()
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.set_num_threads(min(torch.get_num_threads(), count_processors()))  # as in the embedder
    bytes_per_s, rows = copy_speed(given.device), []
    for name in given.architectures:
        rows.append(measure(name, given, bytes_per_s))
        torch.compiler.reset()
    header = ["architecture", "plain, images/s", *(STEPS if given.steps else ["embedder, times as fast"])]
    title = f"Embedding: {given.device}, {given.precision}, batch {given.batch}, {torch.get_num_threads()} threads"
    print_table(title, [*header, "relative error", "first call, s", "times memory traffic"], rows)


if __name__ == "__main__":
    main()
