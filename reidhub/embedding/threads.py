"""How many processors there are for this process; a container's share of time is not seen by torch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

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
