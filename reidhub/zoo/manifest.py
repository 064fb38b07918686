"""The zoo: which manifest files there are, and how a selector finds checkpoints in them.

Where the files lie: beside the package in a checkout, inside it in a wheel; a user's own come from
``$REIDHUB_MANIFEST`` (paths joined like ``$PATH``) and are added to the zoo.
"""

import difflib
import fnmatch
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from reidhub.errors import InstallationError, ManifestError, UnknownCheckpointError
from reidhub.zoo.checkpoint import Architecture, Checkpoint
from reidhub.zoo.manifest_reader import read_file

ENVIRONMENT = "REIDHUB_MANIFEST"

N = TypeVar("N", bound=Checkpoint | Architecture)


@dataclass(frozen=True, slots=True)
class Manifest:
    """All checkpoints and architectures of one or more manifest files, in their order."""

    checkpoints: tuple[Checkpoint, ...]
    architectures: tuple[Architecture, ...]

    def find(self, selector: str) -> list[Checkpoint]:
        """The checkpoints a selector means; never empty.

        Args:
            selector: a full name; a glob over full names (``osnet_x1_0.*``, ``*.msmt17``); or a model's name,
                which means its default checkpoint: ``imagenet`` where there is one, else ``market1501``.

        Raises:
            UnknownCheckpointError: nothing matches; names that look alike are given.
        """
        if is_glob(selector):
            found = [c for c in self.checkpoints if fnmatch.fnmatchcase(c.name, selector)]
        else:
            found = [c for c in self.checkpoints if c.name == selector] or self._default(selector)
        if not found:
            raise UnknownCheckpointError(f"no checkpoint is called {selector!r}", hint=self._near(selector))
        return found

    def find_trained(self, model: str, dataset: str) -> Checkpoint:
        """The checkpoint of ``model`` for ``dataset``: the tag of that name, else the only one trained on it alone.

        Raises:
            UnknownCheckpointError: none or several; the candidates are given.
        """
        candidates = [c for c in self.checkpoints if c.model == model]
        if any(c.name == model for c in self.checkpoints):
            raise UnknownCheckpointError(
                f"{model!r} is the name of a checkpoint, not of a model", hint="leave the dataset out"
            )
        if not candidates:
            raise UnknownCheckpointError(f"no model is called {model!r}", hint=self._near(model))
        tagged = [c for c in candidates if c.tag == dataset]
        alone = tagged or [c for c in candidates if c.trained_on == (dataset,)]
        if len(alone) != 1:
            raise UnknownCheckpointError(
                f"{model} has {'no' if not alone else 'no single'} checkpoint trained on {dataset!r}",
                hint="there are " + ", ".join(c.name for c in alone or candidates),
            )
        return alone[0]

    def architecture(self, name: str) -> Architecture | None:
        """What is said of an architecture; None where nothing is."""
        return next((architecture for architecture in self.architectures if architecture.name == name), None)

    def _default(self, model: str) -> list[Checkpoint]:
        own = [c for c in self.checkpoints if c.model == model]
        for tag in ("imagenet", "market1501"):
            if tagged := [c for c in own if c.tag == tag]:
                return tagged
        return own[:1] if len(own) == 1 else []

    def _near(self, selector: str) -> str:
        model, _, tag = selector.rpartition(".")
        own = [c for c in self.checkpoints if c.model == model]
        alone = [c.name for c in own if c.trained_on == (tag,)]
        if alone or (own and not difflib.get_close_matches(selector, [c.name for c in own], n=1, cutoff=0.85)):
            return f"of {model} there is {', '.join(alone or [c.name for c in own])}"
        names = [c.name for c in self.checkpoints] + sorted({c.model for c in self.checkpoints})
        near = difflib.get_close_matches(selector, names, n=4, cutoff=0.5)
        return f"did you mean {', '.join(near)}?" if near else "`reidhub list` shows every checkpoint"


def is_glob(selector: str) -> bool:
    """True for a selector with wildcards, which may match any number of checkpoints."""
    return any(sign in selector for sign in "*?[")


def zoo() -> Manifest:
    """The zoo's own manifest and the files of ``$REIDHUB_MANIFEST``; read once per process and setting.

    Raises:
        ManifestError: a file breaks the format, or a name stands in two files.
    """
    return _zoo(os.environ.get(ENVIRONMENT, ""))


@lru_cache(maxsize=4)
def _zoo(extra: str) -> Manifest:
    return read_manifest([*sorted(folder().glob("*.yaml")), *(Path(p) for p in extra.split(os.pathsep) if p)])


def folder() -> Path:
    """Where the zoo's own manifest files lie.

    Raises:
        InstallationError: the package was installed without them.
    """
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "manifest", package.parent / "manifest"):
        if candidate.is_dir():
            return candidate
    raise InstallationError(f"no manifest beside {package}")


def read_manifest(files: list[Path]) -> Manifest:
    """Read manifest files as one.

    Raises:
        ManifestError: a file breaks the format, or a name stands in two files.
    """
    checkpoints: tuple[Checkpoint, ...] = ()
    architectures: tuple[Architecture, ...] = ()
    for file in files:
        own_checkpoints, own_architectures = read_file(file)
        checkpoints = _unique(checkpoints, own_checkpoints)
        architectures = _unique(architectures, own_architectures)
    return Manifest(checkpoints, architectures)


def _unique(known: tuple[N, ...], new: tuple[N, ...]) -> tuple[N, ...]:
    seen = {entry.name: entry for entry in known}
    for entry in new:
        if entry.name in seen:
            raise ManifestError(f"{entry.manifest}: {entry.name} is already defined in {seen[entry.name].manifest}")
        seen[entry.name] = entry
    return (*known, *new)
