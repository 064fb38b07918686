"""What a run will measure: checkpoints times datasets, known before anything is fetched or read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reidhub.checkpoint import Checkpoint, Score
from reidhub.datasets import DATASETS, expected_folder
from reidhub.errors import UsageError
from reidhub.manifest import Manifest

CLASSIFICATION = "imagenet"
"""The dataset that classifiers are scored on; all others are retrievals."""


@dataclass(frozen=True, slots=True)
class Job:
    """One checkpoint to be scored on one dataset.

    Args:
        checkpoint: as the manifest has it.
        dataset: key of the dataset registry.
        score: the reported figures; None where none are.
        by_name: True where the checkpoint was asked for by exact name.
    """

    checkpoint: Checkpoint
    dataset: str
    score: Score | None
    by_name: bool

    @property
    def key(self) -> tuple[str, str]:
        """Checkpoint and dataset: what tells jobs of a plan apart."""
        return self.checkpoint.name, self.dataset


@dataclass(frozen=True, slots=True)
class Plan:
    """Jobs in the manifest's order, each pair of checkpoint and dataset once."""

    jobs: tuple[Job, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        """Each dataset once, in the order of the registry."""
        used = {job.dataset for job in self.jobs}
        return tuple(name for name in DATASETS if name in used)

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Each checkpoint once."""
        return tuple({job.checkpoint.name: job.checkpoint for job in self.jobs}.values())


def plan(zoo: Manifest, selectors: Sequence[str], datasets: Sequence[str] = (), *, everything: bool = False) -> Plan:
    """Plan the jobs that selectors mean.

    A checkpoint is scored where figures of it are reported, and a classifier on ImageNet in any case. With
    ``datasets``, one that is asked for by exact name is scored on all of these, reported or not.

    Args:
        zoo: where the selectors are looked up.
        selectors: names, models or globs, as `Manifest.find` takes them.
        datasets: keys of the dataset registry; all where empty.
        everything: all checkpoints instead.

    Raises:
        UsageError: no selector, or both selectors and ``everything``; nothing to be scored at all.
        UnknownCheckpointError: a selector matches nothing.
        DatasetError: no dataset is called so.
    """
    if everything == bool(selectors):
        raise UsageError(
            "expected names of checkpoints, or --all" + (", not both" if selectors else ""),
            hint="`reidhub list` shows every checkpoint",
        )
    for name in datasets:
        expected_folder(name)  # raises for a name that is not known
    named = {c.name for s in selectors if not is_glob(s) for c in zoo.find(s)}
    meant = zoo.checkpoints if everything else [c for s in selectors for c in zoo.find(s)]
    names = {checkpoint.name for checkpoint in meant}
    jobs = tuple(
        job
        for checkpoint in zoo.checkpoints
        if checkpoint.name in names
        for job in _jobs(checkpoint, datasets, by_name=checkpoint.name in named)
    )
    if not jobs:
        what = f"on {', '.join(datasets)}" if datasets else "on any dataset"
        raise UsageError(f"none of {len(names)} checkpoints has a reported score {what}")
    return Plan(jobs)


def is_glob(selector: str) -> bool:
    """True for a selector that may mean any number of checkpoints; others are exact names."""
    return any(sign in selector for sign in "*?[")


def _jobs(checkpoint: Checkpoint, datasets: Sequence[str], *, by_name: bool) -> Iterable[Job]:
    reported = {score.dataset: score for score in checkpoint.scores}
    wanted = list(reported)
    if checkpoint.trained_on == (CLASSIFICATION,) and CLASSIFICATION not in reported:
        wanted.append(CLASSIFICATION)
    if datasets:
        wanted = [name for name in datasets if by_name or name in wanted]
    for name in dict.fromkeys(wanted):
        yield Job(checkpoint, name, reported.get(name), by_name)
