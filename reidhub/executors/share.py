"""Which part of the shards this process does, if several processes work on the same list of shards.

The part of a process has the shards with ``number % count == index``. The part comes from ``--shard I/N``, or from the
variables of torchrun or of a Slurm array. The processes need no contact with each other.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from reidhub.errors import UsageError

_FORM = re.compile(r"(\d+)/(\d+)", re.ASCII)
_TORCHRUN = "TORCHELASTIC_RUN_ID"  # RANK and WORLD_SIZE alone are also set by other programs, for example for DeepSpeed
_SLURM = "SLURM_ARRAY_TASK_ID"  # not SLURM_PROCID: `srun` sets it for programs too that are not meant to share work
_KUBERNETES = "JOB_COMPLETION_INDEX"


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the shards that this process does.

    Args:
        index: number of the part, from 0 to ``count`` - 1.
        count: number of parts.
        origin: where index and count come from, for messages, such as ``torchrun``; empty if nothing names a part.
        local_rank: number of this process on its machine, from torchrun; the process uses the GPU with this number.
    """

    index: int
    count: int
    origin: str = ""
    local_rank: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: there is no such part.
        """
        if not 0 <= self.index < self.count:
            come = f", from {self.origin}" if self.origin else ""
            raise UsageError(
                f"expected a part I/N with I from 0 to N-1, got {self.index}/{self.count}{come}",
                hint="the first of 8 parts is 0/8, the last is 7/8",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the value of ``--shard``: ``I/N``, with I from 0 to N-1.

        Raises:
            UsageError: the text has another form, or there is no such part.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise UsageError(
                f"expected --shard I/N, such as 0/8, got {text!r}", hint="the first of 8 parts is 0/8, the last is 7/8"
            )
        return cls(int(found[1]), int(found[2]), "--shard")

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Find the part in the variables of torchrun or of a Slurm array; without them, the part has all shards.

        Raises:
            UsageError: this is a pod of a Kubernetes indexed job, for which Kubernetes does not tell the number of
                parts; or the variables contradict each other.
        """
        if is_torchrun(environment) and _SLURM in environment:
            raise UsageError(
                "this process is a part of a torchrun job and of a Slurm array; the shards can only be split once",
                hint="use torchrun or a Slurm array, but not both",
            )
        if is_torchrun(environment):
            rank, world, local = (_read(environment, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
            return cls(rank, world, "torchrun", local)
        if _SLURM in environment:
            return cls(*_read_slurm(environment), "the Slurm array")
        if _KUBERNETES in environment:
            raise UsageError(
                "this is a pod of a Kubernetes indexed job, and Kubernetes does not say how many pods the job has",
                hint="add `--shard $(JOB_COMPLETION_INDEX)/N` to the arguments of the container; N is the number of "
                "completions. `--shard 0/1` does all shards",
            )
        return cls(0, 1)

    def has(self, number: int) -> bool:
        """Return True if the shard with this number, counted from 0, belongs to this part."""
        return number % self.count == self.index

    def __str__(self) -> str:
        """Say which part this is, for the user: ``part 3 of 8 (--shard 2/8), from the Slurm array``."""
        text = f"part {self.index + 1} of {self.count}"
        if self.origin == "--shard":
            return f"{text}, from --shard {self.index}/{self.count}"
        return f"{text} (--shard {self.index}/{self.count}), from {self.origin}" if self.origin else "all shards"


def is_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """Return True in a process of torchrun. When one process ends with an exit code above 0, torchrun stops all."""
    return _TORCHRUN in environment


def _read_slurm(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return index and count of a task of a Slurm array; task numbers need not start at 0, and may have a step."""
    names = ("SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_STEP")
    first, last, count, step = (_read(environment, name) for name in names)
    task = _read(environment, _SLURM)
    if step < 1 or (last - first) // step + 1 != count or (task - first) % step:
        raise UsageError(
            f"expected a Slurm array without gaps, got task {task} of {count} from {first} to {last}, with step {step}",
            hint="submit a range, such as --array=0-7; to repeat single tasks, give --shard I/N to each",
        )
    return (task - first) // step, count


def _read(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if re.fullmatch(r"\d+", text, re.ASCII) is None:
        raise UsageError(
            f"expected a number in the variable {name}, got {text!r}", hint="give --shard I/N to name the part yourself"
        )
    return int(text)
