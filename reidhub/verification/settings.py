"""The settings of a run; all jobs of the run have the same settings."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reidhub.devices import has_bf16
from reidhub.errors import DeviceMemoryError, UsageError
from reidhub.metrics.inputs import Cameras, Distance
from reidhub.torch_settings import Precision


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run measures.

    Args:
        data_root: the folder that contains the datasets.
        device: the device that runs models and computes distances.
        batch_size: images per batch.
        workers: number of threads that decode images.
        precision: how the models compute, see `Precision`.
        allow_partial: accept copies of datasets whose number of images differs from the published one.
        normalize: scale embeddings to length 1 before distances are computed.
        rerank: apply k-reciprocal re-ranking.
        cameras: ``ignore`` to score also the images from the camera of a query, see `evaluate`.
        distance: the distance for all checkpoints; None for the distance of each checkpoint in the manifest.

    Raises:
        UsageError: the precision is tf32 and the device is not a GPU.
    """

    data_root: Path
    device: torch.device
    batch_size: int
    workers: int
    precision: Precision = "fp32"
    allow_partial: bool = False
    normalize: bool = False
    rerank: bool = False
    cameras: Cameras = "use"
    distance: Distance | None = None

    def __post_init__(self) -> None:
        if self.precision == "tf32" and self.device.type != "cuda":
            raise UsageError("only GPUs have the precision tf32", hint="choose fp32 on a CPU")

    @property
    def emulated(self) -> bool:
        """True if the device cannot compute in this precision; torch then converts to float32 and back, and is slow."""
        return self.precision == "bf16" and not has_bf16(self.device)

    @classmethod
    def for_device(
        cls, device: torch.device, data_root: Path, *, batch_size: int | None = None, **chosen: Any
    ) -> "Settings":
        """Make settings with a batch size and a number of workers that are fast on a device.

        Args:
            device: the device.
            data_root: the folder that contains the datasets.
            batch_size: images per batch; None for 256 on a GPU and 32 on a CPU.
            chosen: values for other fields of the settings.

        Raises:
            UsageError: the precision is tf32 and the device is not a GPU.
        """
        on_gpu = device.type == "cuda"
        workers = (os.cpu_count() or 1) if on_gpu else 2  # on a CPU, the models need the other cores
        return cls(data_root, device, batch_size or (256 if on_gpu else 32), workers, **chosen)


@contextmanager
def explain_out_of_memory(device: torch.device) -> Iterator[None]:
    """Replace torch's out-of-memory error in the ``with`` block by a `DeviceMemoryError` with a hint.

    Raises:
        DeviceMemoryError: the ``with`` block ran out of GPU memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        hint = "choose a smaller --batch-size, or --device cpu"
        raise DeviceMemoryError(f"the device {device} is out of memory", hint=hint) from error


def read_device_name(device: torch.device) -> str:
    """Return the name of a GPU or the model of a CPU; if the model is unknown, return the CPU's architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
