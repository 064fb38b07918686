"""Settings of the process: the precision of torch's arithmetic, its threads, and where its compiler keeps code.

No other module changes such settings. Torch keeps the precision for the whole process, so threads that want different
precisions take turns, in the order in which they asked. When the last block ends, the user's settings come back.
"""

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch

from reidhub.errors import UsageError

_backends: Any = torch.backends
_compiler: Any = torch.compiler.config


class _Switch(NamedTuple):
    """An attribute of a backend of torch that holds for the whole process."""

    backend: Any
    attribute: str

    def read(self) -> Any:
        return getattr(self.backend, self.attribute)

    def write(self, value: Any) -> None:
        setattr(self.backend, self.attribute, value)

    def restore(self, value: Any) -> None:
        """Make the switch read ``value`` again.

        A precision that was not set reads as the one that is set for all of torch. It is left unset where possible.
        """
        if self.attribute == "fp32_precision":
            self.write("none")
        if self.read() != value:
            self.write(value)


_CPU_PRECISION = tuple(_Switch(part, "fp32_precision") for part in (_backends.mkldnn.matmul, _backends.mkldnn.conv))
_GPU_PRECISION = tuple(_Switch(part, "fp32_precision") for part in (_backends.cuda.matmul, _backends.cudnn.conv))
_GPU_TIMING = _Switch(_backends.cudnn, "benchmark")

_Wanted = Mapping[_Switch, Any]


@dataclass(eq=False, slots=True)
class _Thread:
    """The open blocks of one thread, outermost first, and what each wants."""

    blocks: dict[object, _Wanted] = field(default_factory=dict)

    def merge_blocks(self) -> dict[_Switch, Any]:
        """What all blocks want together; an inner block counts more than an outer one."""
        return {switch: value for wanted in self.blocks.values() for switch, value in wanted.items()}


class _Queue:
    """Threads that want settings, in the order in which they asked.

    A thread waits while an earlier one wants another value of the same switch. It is never overtaken by a thread with
    which it conflicts, so nobody waits forever. A thread that enters or leaves an inner block gives up its place and
    asks again at the end of the queue: whoever waits holds nothing, so threads cannot wait for each other in a circle.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._wanted: dict[_Thread, _Wanted] = {}
        self._users_values: dict[_Switch, Any] = {}
        self._local = threading.local()

    @contextmanager
    def apply(self, wanted: _Wanted) -> Iterator[None]:
        """Set switches while the block lasts; wait before it, and after an inner one, until that is possible."""
        thread, block = self._this_thread(), object()
        thread.blocks[block] = wanted
        try:
            self._update(thread)
            yield
        finally:
            del thread.blocks[block]
            self._update(thread)

    def _this_thread(self) -> _Thread:
        if not hasattr(self._local, "thread"):
            self._local.thread = _Thread()
        thread: _Thread = self._local.thread
        return thread

    def _update(self, thread: _Thread) -> None:
        """Replace what a thread wants by what its open blocks want together."""
        wanted = thread.merge_blocks()
        with self._changed:
            if wanted == self._wanted.get(thread, {}):
                return
            self._give_up(thread)
            if not wanted:
                return
            self._wanted[thread] = wanted
            self._changed.wait_for(lambda: self._is_next(thread))
            for switch, value in wanted.items():
                self._users_values.setdefault(switch, switch.read())
                switch.write(value)

    def _give_up(self, thread: _Thread) -> None:
        """Take a thread out of the queue; the user's value of a switch comes back when no other thread has its turn."""
        left = self._wanted.pop(thread, {})
        in_use = {switch for other, wanted in self._wanted.items() if self._is_next(other) for switch in wanted}
        for switch in left.keys() - in_use:
            if switch in self._users_values:  # it is not where the thread was interrupted while it waited
                switch.restore(self._users_values.pop(switch))
        self._changed.notify_all()

    def _is_next(self, thread: _Thread) -> bool:
        """True where no earlier thread wants another value of one of the switches."""
        own = self._wanted[thread]
        for other, wanted in self._wanted.items():
            if other is thread:
                break
            if any(wanted.get(switch, value) != value for switch, value in own.items()):
                return False
        return True


_queue = _Queue()


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How torch computes inside a block, whatever the user has set; by default in float32 without shortcuts.

    Args:
        tf32: allow the hardware to round the factors of float32 products to TF32.
        autocast: dtype for torch's autocast; None switches autocast off.
        timed: let cuDNN try its algorithms on each new size and keep the fastest; otherwise it chooses by rule.
    """

    tf32: bool = False
    autocast: torch.dtype | None = None
    timed: bool = False

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        """Use this arithmetic on one kind of device while the block lasts.

        Threads with the same arithmetic run side by side, others wait. Blocks can be nested: the inner one counts while
        it lasts, and other threads may have their turn before it and after it.
        """
        precision = "tf32" if self.tf32 else "ieee"
        wanted: dict[_Switch, Any] = dict.fromkeys(_CPU_PRECISION, precision)
        if device.type == "cuda":
            wanted = {**dict.fromkeys(_GPU_PRECISION, precision), _GPU_TIMING: self.timed}
        with (
            _queue.apply(wanted),
            torch.autocast(device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None),
        ):
            yield


Precision = Literal["exact", "fp32", "bf16"]
"""``exact``: the plain module; ``fp32``: also float32, by other kernels that round differently; ``bf16``: autocast."""


def check_precision(precision: str, device: torch.device) -> None:
    """Check that an embedder can run in this precision on this device.

    Raises:
        UsageError: the precision is unknown, or it is bf16 and the device only emulates it.
    """
    if precision not in get_args(Precision):
        raise UsageError(f"unknown precision {precision!r}; there are {', '.join(get_args(Precision))}")
    if precision == "bf16" and not has_bf16(device):
        raise UsageError(
            f"precision 'bf16' was asked for, but this {device.type} does not compute in bfloat16",
            hint="leave precision out: fp32 is the default and runs everywhere",
        )


def has_bf16(device: torch.device) -> bool:
    """True where the hardware computes in bfloat16; emulated bfloat16 is slower than float32."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not hasattr(torch.cpu, "get_capabilities"):  # before torch 2.11
        return bool(torch.cpu._is_avx512_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of cgroup version 2: microseconds of processor time in each period


@contextmanager
def limit_threads() -> Iterator[None]:
    """Use no more of torch's threads than there are processors for this process.

    Torch waits for all its threads at the end of every layer; threads without a processor only delay it. With
    OpenMP torch keeps this number for each thread of the program, so blocks of several threads do not disturb each
    other; a thread that uses torch for the first time during a block also gets the lower number.
    """
    before = torch.get_num_threads()
    limited = min(before, count_processors())
    if limited == before:
        yield
        return
    torch.set_num_threads(limited)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def count_processors(quota: Path = _QUOTA) -> int:
    """Number of processors that this process may use at once, by its affinity and its container's quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        time_us, period_us = quota.read_text().split()
        return max(1, min(allowed, round(int(time_us) / int(period_us))))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return allowed


_COMPILED_CODE = "TORCHINDUCTOR_CACHE_DIR"


def keep_compiled_code(folder: Path) -> Path:
    """Let torch's compiler keep its code in a folder, unless the user has named one in ``TORCHINDUCTOR_CACHE_DIR``.

    Torch has no other way to choose the folder. It stays chosen, because a model can be compiled again later.

    Returns:
        The folder that counts.
    """
    users = os.environ.get(_COMPILED_CODE, "")
    torchs_own = str(Path(tempfile.gettempdir(), "torchinductor_"))  # importing torchvision already sets it
    if users == "" or users.startswith(torchs_own):
        os.environ[_COMPILED_CODE] = str(folder)
    return Path(os.environ[_COMPILED_CODE])


@contextmanager
def tag_compiled_code(tag: str) -> Iterator[None]:
    """Let torch's compiler use only code that was kept under the same tag, while the block lasts."""
    with _compiler.patch(cache_key_tag=tag):
        yield


def find_device(name: torch.device | str | None) -> torch.device:
    """The device of that name; for None the GPU where there is one, else the CPU.

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
