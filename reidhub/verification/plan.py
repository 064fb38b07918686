"""What a run will measure: checkpoints times datasets, known before anything is fetched or read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reidhub.datasets import DATASETS, expected_folder
from reidhub.errors import UsageError
from reidhub.zoo.checkpoint import Checkpoint, Score
from reidhub.zoo.manifest import Manifest, is_glob

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


@dataclass(frozen=True, slots=True)
class Selection:
    """The checkpoints that were asked for.

    Args:
        checkpoints: in the manifest's order, each once.
        by_name: names of those that were asked for by exact name.
    """

    checkpoints: tuple[Checkpoint, ...]
    by_name: frozenset[str]

    @classmethod
    def of(cls, zoo: Manifest, selectors: Sequence[str], *, everything: bool = False) -> "Selection":
        """What selectors mean.

        Args:
            zoo: where they are looked up.
            selectors: names, models or globs, as `Manifest.find` takes them.
            everything: all checkpoints instead.

        Raises:
            UsageError: no selector, or both selectors and ``everything``.
            UnknownCheckpointError: a selector matches nothing.
        """
        if everything == bool(selectors):
            raise UsageError(
                "expected names of checkpoints, or --all" + (", not both" if selectors else ""),
                hint="`reidhub list` shows every checkpoint",
            )
        by_name = frozenset(c.name for selector in selectors if not is_glob(selector) for c in zoo.find(selector))
        names = {checkpoint.name for selector in selectors for checkpoint in zoo.find(selector)}
        return cls(tuple(c for c in zoo.checkpoints if everything or c.name in names), by_name)


def plan(selection: Selection, datasets: Sequence[str] = ()) -> Plan:
    """Plan the jobs of some checkpoints.

    A checkpoint is scored where figures of it are reported, and a classifier on ImageNet in any case. With
    ``datasets``, one that is asked for by exact name is scored on all of these, reported or not.

    Args:
        selection: what was asked for.
        datasets: keys of the dataset registry; all where empty.

    Raises:
        UsageError: there is nothing to be scored.
        DatasetError: no dataset is called so.
    """
    for name in datasets:
        expected_folder(name)  # raises for a name that is not known
    jobs = tuple(
        job
        for checkpoint in selection.checkpoints
        for job in _jobs(checkpoint, datasets, by_name=checkpoint.name in selection.by_name)
    )
    if not jobs:
        what = f"on {', '.join(datasets)}" if datasets else "on any dataset"
        raise UsageError(f"none of the checkpoints asked for has a reported score {what}")
    return Plan(jobs)


def _jobs(checkpoint: Checkpoint, datasets: Sequence[str], *, by_name: bool) -> Iterable[Job]:
    reported = {score.dataset: score for score in checkpoint.scores}
    wanted = list(reported)
    if checkpoint.trained_on == (CLASSIFICATION,) and CLASSIFICATION not in reported:
        wanted.append(CLASSIFICATION)
    if datasets:
        wanted = [name for name in datasets if by_name or name in wanted]
    for name in dict.fromkeys(wanted):
        yield Job(checkpoint, name, reported.get(name), by_name)
