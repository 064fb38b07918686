"""The plan of a run: which checkpoint is measured on which dataset. Planning downloads nothing and reads no dataset."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reidhub.datasets import DATASETS, WITHOUT_READER, describe_folder
from reidhub.errors import UsageError
from reidhub.zoo.checkpoint import Checkpoint, Score
from reidhub.zoo.manifest import Manifest, is_glob
from reidhub.zoo.own_files import is_own_file

CLASSIFICATION = "imagenet"
"""The dataset that classifiers are scored on; all other datasets are for retrieval."""

Selector = str | os.PathLike[str]
"""The name of a checkpoint or a model, a glob, or the path of a file."""

JobKey = tuple[str, str]
"""The names of the checkpoint and the dataset of a job; each job of a plan has a different pair."""


@dataclass(frozen=True, slots=True)
class Job:
    """One checkpoint that is to be measured on one dataset.

    Args:
        checkpoint: the entry of the manifest.
        dataset: key of the dataset registry.
        score: the published scores; None if the manifest has none.
        by_name: True if the user named the checkpoint or its model; False if a glob or ``--all`` selected it.
    """

    checkpoint: Checkpoint
    dataset: str
    score: Score | None
    by_name: bool

    @property
    def key(self) -> JobKey:
        """The names of the checkpoint and the dataset."""
        return self.checkpoint.name, self.dataset


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of a run, in the manifest's order. No two jobs have the same checkpoint and dataset."""

    jobs: tuple[Job, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the jobs' datasets, each once: in the order of the registry, then those without a reader."""
        used = dict.fromkeys(job.dataset for job in self.jobs)
        return (*(name for name in DATASETS if name in used), *(name for name in used if name not in DATASETS))

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The checkpoints of the jobs, each once."""
        return tuple({job.checkpoint.name: job.checkpoint for job in self.jobs}.values())


@dataclass(frozen=True, slots=True)
class Selection:
    """The checkpoints that the user asked for.

    Args:
        checkpoints: in the manifest's order, each once.
        by_name: the names of the checkpoints that the user selected by their name or by their model, not by a glob.
    """

    checkpoints: tuple[Checkpoint, ...]
    by_name: frozenset[str]

    @classmethod
    def of(
        cls, zoo: Manifest, selectors: Sequence[Selector], *, everything: bool = False, architecture: str | None = None
    ) -> "Selection":
        """Find the checkpoints that match the selectors; the users' own files come last.

        Args:
            zoo: the manifest that is searched.
            selectors: names of checkpoints, names of models, globs (see `Manifest.find`), or paths of files.
            everything: True to take all checkpoints; ``selectors`` must then be empty.
            architecture: the architecture of the files; None to detect it for each file.

        Raises:
            UsageError: neither ``selectors`` nor ``everything`` is given, or both are. Or ``architecture`` is given
                without a file.
            UnknownCheckpointError: a selector matches nothing.
            WeightsError: a file does not hold exactly the weights of one architecture.
        """
        if everything == bool(selectors):
            raise UsageError(
                "expected names of checkpoints, or --all" + (", not both" if selectors else ""),
                hint="`reidhub list` shows every checkpoint",
            )
        own = _find_own([selector for selector in selectors if is_own_file(selector)], architecture)
        found = {str(s): {c.name for c in zoo.find(str(s))} for s in selectors if not is_own_file(s)}
        names = frozenset().union(*found.values())
        by_name = frozenset(own).union(*(names for selector, names in found.items() if not is_glob(selector)))
        listed = [c for c in zoo.checkpoints if everything or c.name in names]
        return cls((*listed, *(c for c in own.values() if c.name not in names)), by_name)


def _find_own(files: Sequence[Selector], architecture: str | None) -> dict[str, Checkpoint]:
    """Return the checkpoints of the users' own files by their names."""
    if not files:
        if architecture is not None:
            raise UsageError(f"only files need an architecture, got {architecture!r}", hint="leave it out")
        return {}
    from reidhub.diagnosis.own_file import find_own_checkpoint  # imports torch

    found = [find_own_checkpoint(file, architecture) for file in files]
    return {checkpoint.name: checkpoint for checkpoint in found}


def plan(selection: Selection, datasets: Sequence[str] = ()) -> Plan:
    """Plan the jobs of some checkpoints.

    The manifest entry of a checkpoint lists its published scores; the checkpoint is measured on their datasets. If it
    was trained only on ImageNet, it is always measured on ImageNet. If ``datasets`` is not empty, only these datasets
    are used, and a checkpoint that the user named is measured on each of them, even without published scores.

    Args:
        selection: the checkpoints.
        datasets: keys of the dataset registry or of `WITHOUT_READER`; empty for no restriction.

    Raises:
        UsageError: the plan would have no job.
        DatasetError: no dataset has this name.
    """
    for name in datasets:
        if name not in WITHOUT_READER:
            describe_folder(name)  # raises for an unknown name
    jobs = tuple(
        job
        for checkpoint in selection.checkpoints
        for job in _list_jobs(checkpoint, datasets, by_name=checkpoint.name in selection.by_name)
    )
    if not jobs:
        what = f"on {', '.join(datasets)}" if datasets else "on any dataset"
        hint = None if datasets else "name a dataset, such as --on market1501; it is then measured without a verdict"
        raise UsageError(f"none of the checkpoints asked for has a reported score {what}", hint=hint)
    return Plan(jobs)


def _list_jobs(checkpoint: Checkpoint, datasets: Sequence[str], *, by_name: bool) -> Iterable[Job]:
    reported = {score.dataset: score for score in checkpoint.scores}
    wanted = list(reported)
    if checkpoint.trained_on == (CLASSIFICATION,) and CLASSIFICATION not in reported:
        wanted.append(CLASSIFICATION)
    if datasets:
        wanted = [name for name in datasets if by_name or name in wanted]
    for name in dict.fromkeys(wanted):
        yield Job(checkpoint, name, reported.get(name), by_name)
