"""Finds devices, tells whether they have bfloat16, and counts the processors that this process may use."""

import os
from pathlib import Path

import torch

from reidhub.errors import UsageError

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # cgroup version 2: processor time per period, and length of a period, in us


def find_device(name: torch.device | str | None) -> torch.device:
    """Return the device with this name; if the name is None, the GPU if there is one, else the CPU.

    Raises:
        UsageError: no device has this name.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]  # torch's message is long
        hint = "choose cpu" if str(name).startswith("cuda") else "choose cpu or cuda"
        raise UsageError(f"no device {str(name)!r}: {reason}", hint=hint) from error
    return device


def has_bf16(device: torch.device) -> bool:
    """Return True if the hardware computes in bfloat16. Emulated bfloat16 does not count: it is slower than float32."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not hasattr(torch.cpu, "get_capabilities"):  # before torch 2.11
        return bool(torch.cpu._is_avx512_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def count_processors(quota: Path = _QUOTA) -> int:
    """Count the processors that this process may use, by its CPU affinity and its container's quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        time_us, period_us = quota.read_text().split()
        return max(1, min(allowed, round(int(time_us) / int(period_us))))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return allowed
