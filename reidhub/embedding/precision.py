"""Which precisions an embedder can be asked for, and where they are to be had."""

from typing import Literal, get_args

import torch

from reidhub.errors import UsageError

Precision = Literal["exact", "fp32", "bf16"]
"""``exact``: the plain module; ``fp32``: real float32 too, by kernels that round otherwise; ``bf16``: autocast."""


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
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not hasattr(torch.cpu, "get_capabilities"):  # before torch 2.11
        return bool(torch.cpu._is_avx512_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))
