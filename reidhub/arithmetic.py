"""Which arithmetic torch computes in while a block lasts, whatever was set before and whatever other threads do.

Torch keeps these settings for the whole process. Blocks of several threads that want the same ones run side by side;
those that want others wait for them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from typing import Any

import torch

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
