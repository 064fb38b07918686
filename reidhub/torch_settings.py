"""Change torch's settings for the whole process: precision, and number of compute threads.

No other module changes these settings. In this module, a block is the body of a ``with`` statement that applies
settings. Torch has one precision for the whole process. Therefore blocks in several Python threads that need different
precisions run one after another, in the order of their requests. When the last block ends, the user's settings are
restored.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self, get_args

import torch

from reidhub.devices import count_processors, has_bf16
from reidhub.errors import UsageError
from reidhub.thread_locks import call_in_forks, make_fork_safe_lock

_backends: Any = torch.backends


class _Switch(NamedTuple):
    """A setting that torch has for the whole process: an attribute of one of torch's backends."""

    backend: Any
    attribute: str

    def read(self) -> Any:
        return getattr(self.backend, self.attribute)

    def write(self, value: Any) -> None:
        setattr(self.backend, self.attribute, value)

    def restore(self, value: Any) -> None:
        """Restore an earlier value of the setting.

        A backend can have its own precision; if it has none, it uses torch's global precision. ``value`` was read from
        torch, which does not tell which of the two it is. Therefore this method first removes the backend's own
        precision. If torch's global precision differs from ``value``, ``value`` becomes the backend's own precision.
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
    """The ``with`` blocks that one Python thread has entered, outermost first, and the values that each block needs.

    Attributes:
        changing: True while the thread waits for its turn or sets switches.
    """

    blocks: dict[object, _Wanted] = field(default_factory=dict)
    changing: bool = False

    def merge_blocks(self) -> dict[_Switch, Any]:
        """Combine the values of all blocks; if two blocks set the same switch, the inner block overrides the outer."""
        return {switch: value for wanted in self.blocks.values() for switch, value in wanted.items()}


class _Queue:
    """Python threads that need settings; the first thread is served first.

    A thread waits only for earlier threads that need another value of the same setting. When a nested ``with`` block
    starts or ends, the thread's settings can change; the thread then goes to the end of the queue. So a thread never
    waits for a later one, and a deadlock is impossible.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(make_fork_safe_lock())
        self._wanted: dict[_Thread, _Wanted] = {}
        self._users_values: dict[_Switch, Any] = {}
        self._local = threading.local()

    @contextmanager
    def apply(self, wanted: _Wanted) -> Iterator[None]:
        """Set switches until the ``with`` block ends.

        Before the block starts, this thread waits for earlier threads that need other values. At the end of a block
        inside another block, the outer block's values are set again, so the thread may wait there too.

        Raises:
            UsageError: a signal handler needs settings, but it has interrupted its thread while they were changing.
        """
        thread, block = self._this_thread(), object()
        if thread.changing:
            raise UsageError(
                "a signal handler used a model while its thread was changing torch's settings",
                hint="let the handler only set a flag, and use the model later",
            )
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
        """Wait until no earlier thread needs other values; then set the values that this thread's blocks need."""
        wanted = thread.merge_blocks()
        with self._changed:
            if wanted == self._wanted.get(thread, {}):
                return
            thread.changing = True
            try:
                self._give_up(thread)
                if wanted:
                    self._set(thread, wanted)
            finally:
                thread.changing = False

    def _set(self, thread: _Thread, wanted: _Wanted) -> None:
        """Put a thread at the end of the queue, wait for its turn, and set its switches."""
        self._wanted[thread] = wanted
        self._changed.wait_for(lambda: self._is_next(thread))
        for switch, value in wanted.items():
            self._users_values.setdefault(switch, switch.read())
            switch.write(value)

    def _give_up(self, thread: _Thread) -> None:
        """Remove a thread from the queue; restore the user's value of each switch that no running thread uses."""
        left = self._wanted.pop(thread, {})
        in_use = {switch for other, wanted in self._wanted.items() if self._is_next(other) for switch in wanted}
        for switch in left.keys() - in_use:
            if switch in self._users_values:  # absent if the thread was interrupted while it waited
                switch.restore(self._users_values.pop(switch))
        self._changed.notify_all()

    def forget_other_threads(self) -> None:
        """Remove the threads that do not exist after a fork; restore the user's value of each switch that they set."""
        own = self._this_thread()
        with self._changed:
            for thread in [thread for thread in self._wanted if thread is not own]:
                self._give_up(thread)

    def _is_next(self, thread: _Thread) -> bool:
        """Return True if no earlier thread in the queue needs another value of one of this thread's switches."""
        own = self._wanted[thread]
        for other, wanted in self._wanted.items():
            if other is thread:
                break
            if any(wanted.get(switch, value) != value for switch, value in own.items()):
                return False
        return True


_queue = _Queue()
call_in_forks(_queue.forget_other_threads)


Precision = Literal["exact", "fp32", "tf32", "bf16", "fp16"]
"""How a model computes: unchanged (``exact``), or in faster code with the named number format.

The faster float32 code rounds differently than the model. ``tf32`` and ``fp16`` exist on GPUs alone.
"""

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How torch computes inside a ``with`` block, regardless of the user's settings; by default in full float32.

    Args:
        tf32: allow the hardware to round the factors of float32 products to TF32.
        autocast: dtype for torch's autocast; None switches autocast off.
        timed: let cuDNN time its algorithms for each new input size and use the fastest one. If False, cuDNN chooses
            an algorithm without timing.
    """

    tf32: bool = False
    autocast: torch.dtype | None = None
    timed: bool = False

    @classmethod
    def of_precision(cls, precision: Precision, *, timed: bool = False) -> Self:
        """Return how torch computes in a precision; ``exact`` and ``fp32`` are both full float32.

        Args:
            precision: the precision.
            timed: see `Arithmetic`.
        """
        return cls(tf32=precision == "tf32", autocast=_AUTOCAST.get(precision), timed=timed)

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        """Apply these settings to devices of this type (CPU or GPU), until the ``with`` block ends.

        Threads whose blocks need the same settings run at the same time. A thread that needs other settings waits until
        those threads have left their blocks. If a block is inside another block, the settings of the inner block apply
        until it ends. The settings change at the start and at the end of the inner block, so the thread may have to
        wait for other threads there.
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


_GPU_ONLY = ("tf32", "fp16")


def check_precision(precision: str, device: torch.device) -> None:
    """Check that an embedder can run in this precision on this device.

    Raises:
        UsageError: the precision is unknown, the device lacks it, or it is bf16 and the device only emulates it.
    """
    if precision not in get_args(Precision):
        raise UsageError(f"unknown precision {precision!r}; there are {', '.join(get_args(Precision))}")
    if precision in _GPU_ONLY and device.type == "cpu":
        raise UsageError(f"only GPUs have the precision {precision}", hint="choose fp32 on a CPU")
    if precision == "bf16" and not has_bf16(device):
        raise UsageError(
            f"precision 'bf16' was asked for, but this {device.type} does not compute in bfloat16",
            hint="leave precision out: fp32 is the default and runs everywhere",
        )


@contextmanager
def limit_threads() -> Iterator[None]:
    """Limit torch's compute threads to the number of processors of this process, until the ``with`` block ends.

    Torch waits for all its compute threads at the end of every layer, so more compute threads than processors delay
    torch. If torch uses OpenMP, each Python thread has its own limit, and ``with`` blocks in several Python threads do
    not disturb each other. But a Python thread that first uses torch during such a block also gets the lower limit.
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
