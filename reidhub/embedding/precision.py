"""Which arithmetic a model runs in, whatever was set before."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from reidhub.errors import UsageError

Precision = Literal["exact", "fp32", "bf16"]
"""``exact``: the plain module; ``fp32``: real float32 too, by kernels that round otherwise; ``bf16``: autocast."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How numbers are computed, whatever is set outside; by default real float32, neither TF32 nor bfloat16.

    Args:
        tf32: products of float32 may be rounded to TF32 where the hardware has it.
        autocast: torch's autocast to this dtype on top; None for none.
        timed: cuDNN tries its algorithms on each new size and keeps the fastest, rather than choosing by rule.
    """

    tf32: bool = False
    autocast: torch.dtype | None = None
    timed: bool = False

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        """Compute so on one device while the block lasts."""
        backends: Any = torch.backends
        switches = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
        before, timed = [switch.fp32_precision for switch in switches], backends.cudnn.benchmark
        try:
            backends.cudnn.benchmark = self.timed
            for switch in switches:
                switch.fp32_precision = "tf32" if self.tf32 else "ieee"
            with torch.autocast(device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None):
                yield
        finally:
            backends.cudnn.benchmark = timed
            for switch, setting in zip(switches, before, strict=True):
                switch.fp32_precision = setting


def check(precision: str, device: torch.device) -> None:
    """Refuse what there is no such name or no hardware for.

    Raises:
        UsageError: an unknown precision, or bf16 where the device would only emulate it.
    """
    if precision not in get_args(Precision):
        raise UsageError(f"unknown precision {precision!r}; there are {', '.join(get_args(Precision))}")
    if precision == "bf16" and not has_bf16(device):
        raise UsageError(
            f"precision 'bf16' was asked for, but this {device.type} does not compute in bfloat16",
            hint="leave precision out: fp32 is the default and runs everywhere",
        )


def has_bf16(device: torch.device) -> bool:
    """True where bfloat16 is computed by the hardware rather than emulated, which would be slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))
