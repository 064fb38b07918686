"""Which arithmetic and how many threads torch uses while a block lasts, and on which device it computes.

Torch keeps these settings for the whole process. Blocks of several threads that want the same ones run side by side;
those that want others wait for them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import Any, Literal, get_args

import torch

from reidhub.errors import UsageError

_backends: Any = torch.backends


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
        """Compute so on one device while the block lasts; inside it no other `Arithmetic` can be chosen."""
        settings = _GPU if device.type == "cuda" else _CPU
        with (
            settings.set_to("tf32" if self.tf32 else "ieee", timed=self.timed),
            torch.autocast(device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None),
        ):
            yield


class _Settings:
    """The settings of one kind of device: the first block changes them, the last one puts them back."""

    def __init__(self, *switches: Any, timing: Any = None) -> None:
        self._switches = switches
        self._timing = timing
        self._left = Condition()
        self._blocks = 0
        self._now: tuple[str, bool] | None = None
        self._before: tuple[list[str], bool] = [], False

    @contextmanager
    def set_to(self, precision: str, *, timed: bool) -> Iterator[None]:
        wanted = precision, timed and self._timing is not None
        with self._left:
            self._left.wait_for(lambda: not self._blocks or self._now == wanted)
            if not self._blocks:
                self._change(*wanted)
                self._now = wanted
            self._blocks += 1
        try:
            yield
        finally:
            with self._left:
                self._blocks -= 1
                if not self._blocks:
                    self._restore()
                self._left.notify_all()

    def _change(self, precision: str, timed: bool) -> None:
        self._before = [switch.fp32_precision for switch in self._switches], bool(getattr(self._timing, "benchmark", 0))
        for switch in self._switches:
            switch.fp32_precision = precision
        if self._timing is not None:
            self._timing.benchmark = timed

    def _restore(self) -> None:
        precisions, timed = self._before
        for switch, precision in zip(self._switches, precisions, strict=True):
            switch.fp32_precision = "none"  # follows what is set for all operations, which may be what was read
            if switch.fp32_precision != precision:
                switch.fp32_precision = precision
        if self._timing is not None:
            self._timing.benchmark = timed


_CPU = _Settings(_backends.mkldnn.matmul, _backends.mkldnn.conv)
_GPU = _Settings(_backends.cuda.matmul, _backends.cudnn.conv, timing=_backends.cudnn)


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


_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of cgroup version 2: microseconds of processor time in each period


@contextmanager
def threads_that_run() -> Iterator[None]:
    """No more of torch's threads than can run at once: the others would be waited for at the end of every layer."""
    before = torch.get_num_threads()
    most = min(before, processors())
    if most == before:
        yield
        return
    torch.set_num_threads(most)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def processors(quota: Path = _QUOTA) -> int:
    """Processors this process may run on at once, by its affinity and its container's share; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        time_us, period_us = quota.read_text().split()
        return max(1, min(allowed, round(int(time_us) / int(period_us))))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return allowed


def device_of(name: torch.device | str | None) -> torch.device:
    """The device of that name; where None, the GPU if there is one, else the CPU.

    Raises:
        UsageError: there is no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]  # torch goes on at length
        hint = "choose cpu" if str(name).startswith("cuda") else "choose cpu or cuda"
        raise UsageError(f"no device {str(name)!r}: {reason}", hint=hint) from error
    return device
