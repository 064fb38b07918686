"""Reads the manifest files of the zoo, and finds checkpoints in them.

The zoo's own manifest files lie next to the package in a checkout, and inside the package in a wheel. A user adds more
files with ``$REIDHUB_MANIFEST`` (paths joined as in ``$PATH``) or with `add_manifests`.
"""

import difflib
import fnmatch
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from reidhub.errors import CacheError, InstallationError, ManifestError, UnknownCheckpointError
from reidhub.zoo.checkpoint import Architecture, Checkpoint
from reidhub.zoo.known_files import KnownFile
from reidhub.zoo.known_layouts import KnownLayout
from reidhub.zoo.parsed_copy import ParsedCopy

ENVIRONMENT = "REIDHUB_MANIFEST"

N = TypeVar("N", bound=Checkpoint | Architecture)

_added: tuple[Path, ...] = ()  # the files that `add_manifests` added


@dataclass(frozen=True, slots=True)
class Manifest:
    """All checkpoints and architectures of one or more manifest files.

    Args:
        by_name: name -> checkpoint, in the order of the files. If the mapping is a `StoredCheckpoints`, it parses a
            checkpoint only when that checkpoint is looked up.
        architectures: all architectures, in the order of the files.
        layouts: all layouts with a name, in the order of the files.
        known_files: all entries of ``known_files``, in the order of the files.
    """

    by_name: Mapping[str, Checkpoint]
    architectures: tuple[Architecture, ...]
    layouts: tuple[KnownLayout, ...]
    known_files: tuple[KnownFile, ...]

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All checkpoints, in the order of the files."""
        return tuple(self.by_name.values())

    def find(self, selector: str) -> list[Checkpoint]:
        """Return all checkpoints that a selector matches; raise an error if it matches nothing.

        Args:
            selector: a full name, a pattern with wildcards for full names (``osnet_x1_0.*``, ``*.msmt17``), or the name
                of a model. The name of a model selects its default checkpoint.

        Raises:
            UnknownCheckpointError: the selector matches nothing, or it is the name of a model that has several
                checkpoints and no default. The hint suggests names.
        """
        _check_text(selector)
        if selector in self.by_name:
            return [self.by_name[selector]]
        if is_glob(selector):
            found = [self.by_name[name] for name in self.by_name if fnmatch.fnmatchcase(name, selector)]
        else:
            found = self._find_default(selector)
        if not found:
            raise UnknownCheckpointError(f"no checkpoint is called {selector!r}", hint=self._suggest(selector))
        return found

    def find_trained(self, model: str, dataset: str) -> Checkpoint:
        """Find the checkpoint of a model that was trained on a dataset.

        Args:
            model: name of an architecture.
            dataset: a tag, such as ``msmt17``. If no checkpoint of the model has this tag, the checkpoint that was
                trained only on this dataset is found.

        Raises:
            UnknownCheckpointError: there is no such model, or the model has no such checkpoint, or more than one. The
                hint suggests names.
        """
        _check_text(model)
        _check_text(dataset)
        if model in self.by_name:
            raise UnknownCheckpointError(
                f"{model!r} is the name of a checkpoint, not of a model", hint="leave the dataset out"
            )
        candidates = self._of_model(model)
        if not candidates:
            raise UnknownCheckpointError(f"no model is called {model!r}", hint=self._suggest(model))
        tagged = [c for c in candidates if c.tag == dataset]
        found = tagged or [c for c in candidates if c.trained_on == (dataset,)]
        if len(found) != 1:
            raise UnknownCheckpointError(
                f"{model} has {'no' if not found else 'more than one'} checkpoint trained on {dataset!r}",
                hint="there are " + ", ".join(c.name for c in found or candidates),
            )
        return found[0]

    def architecture(self, name: str) -> Architecture | None:
        """Return the architecture of this name; None if the manifest does not describe it."""
        _check_text(name)
        return next((architecture for architecture in self.architectures if architecture.name == name), None)

    def find_distance(self, model: str) -> Literal["euclidean", "cosine"]:
        """Return the distance that suits a model: cosine if all its re-ID checkpoints have it, else Euclidean."""
        distances = {c.distance for c in self._of_model(model) if c.for_reid}
        return "cosine" if distances == {"cosine"} else "euclidean"

    def _of_model(self, model: str) -> list[Checkpoint]:
        return [self.by_name[name] for name in self.by_name if _model_of(name) == model]

    def _find_default(self, model: str) -> list[Checkpoint]:
        """Find the default checkpoint of a model; an empty list if there is no such model.

        The manifest can set the default. If it does not, the default is the model's only re-ID checkpoint. If the model
        has no re-ID checkpoint, the default is its only checkpoint with ImageNet weights.

        Raises:
            UnknownCheckpointError: the manifest sets no default, and the model has several of these checkpoints.
        """
        architecture = self.architecture(model)
        if architecture and architecture.default:
            return [self.by_name[architecture.default]]
        own = self._of_model(model)
        candidates = [c for c in own if c.for_reid] or own
        if len(candidates) > 1:
            raise UnknownCheckpointError(
                f"{model} has {len(candidates)} checkpoints, and the manifest names no default",
                hint="choose one of " + ", ".join(c.name for c in candidates),
            )
        return candidates

    def _suggest(self, selector: str) -> str:
        model, _, tag = selector.rpartition(".")
        own = self._of_model(model)
        trained = [c.name for c in own if c.trained_on == (tag,)]
        if trained or (own and not difflib.get_close_matches(selector, [c.name for c in own], n=1, cutoff=0.85)):
            return f"of {model} there is {', '.join(trained or [c.name for c in own])}"
        if globs := self._find_tags(selector):
            return f"to find checkpoints by their training set, write {' or '.join(globs)}"
        names = [*self.by_name, *sorted({_model_of(name) for name in self.by_name})]
        near = difflib.get_close_matches(selector, names, n=4, cutoff=0.5)
        return f"did you mean {', '.join(near)}?" if near else "`reidhub list` shows every checkpoint"

    def _find_tags(self, selector: str) -> list[str]:
        """Find the tags that a selector names, such as ``Market-1501``, and return a glob for each, in quotes."""
        wanted = _simplify(selector)
        tags = dict.fromkeys(name.rpartition(".")[2] for name in self.by_name)
        return [f"'*.{tag}'" for tag in tags if wanted and _simplify(tag).startswith(wanted)]


def is_glob(selector: str) -> bool:
    """Return True if a selector has wildcards, so that it may match several checkpoints."""
    return any(sign in selector for sign in "*?[")


def _simplify(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _check_text(name: object) -> None:
    if not isinstance(name, str):
        raise UnknownCheckpointError(f"a name such as 'osnet_x1_0' was expected, got {name!r}")


def _model_of(name: str) -> str:
    return name.rpartition(".")[0]


def zoo() -> Manifest:
    """Return the `Manifest` of the zoo's own files and the user's files; the files are read once per process.

    Raises:
        ManifestError: a file cannot be read, its content is malformed, or two files define the same name.
        InstallationError: the zoo's own files are missing.
    """
    own = (Path(file) for file in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if file)
    return _zoo((*own, *_added))


@contextmanager
def add_manifests(files: Iterable[Path]) -> Iterator[None]:
    """Add manifest files to the result of `zoo` during a ``with`` block, for all threads."""
    global _added
    before = _added
    _added = (*before, *files)
    try:
        yield
    finally:
        _added = before


@lru_cache(maxsize=4)
def _zoo(extra: tuple[Path, ...]) -> Manifest:
    files = _read_files([*sorted(folder().glob("*.yaml")), *extra])
    try:
        copy = ParsedCopy.of(files)
    except CacheError:  # this user has no home folder, so there is no cache
        return _parse(files)

    def parse() -> Manifest:
        manifest = _parse(files)
        copy.write(manifest.checkpoints, manifest.architectures, manifest.layouts, manifest.known_files)
        return manifest

    stored = copy.read(lambda: parse().by_name)
    return Manifest(*stored) if stored else parse()


def folder() -> Path:
    """Return the folder of the zoo's own manifest files.

    Raises:
        InstallationError: the package was installed without these files.
    """
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "manifest", package.parent / "manifest"):
        if candidate.is_dir():
            return candidate
    raise InstallationError(f"no manifest beside {package}")


def comes_with_package(checkpoint: Checkpoint) -> bool:
    """Return True if a checkpoint is in the zoo's own manifest files, False if it is in a user's file."""
    return Path(checkpoint.manifest).parent == folder()


def read_manifest(files: Iterable[Path]) -> Manifest:
    """Parse several manifest files into one `Manifest`.

    Raises:
        ManifestError: a file cannot be read, its content is malformed, two files define the same name, or the default
            checkpoint of an architecture is missing or belongs to another architecture.
    """
    return _parse(_read_files(files))


def _read_files(files: Iterable[Path]) -> list[tuple[Path, bytes]]:
    contents = []
    for file in files:
        try:
            contents.append((file, file.read_bytes()))
        except OSError as error:
            raise ManifestError(f"{file}: cannot be read: {error}") from error
    return contents


def _parse(files: Sequence[tuple[Path, bytes]]) -> Manifest:
    from reidhub.zoo.manifest_reader import parse_files  # imports yaml, which a start with a parsed copy does not need

    parsed = parse_files(files)
    checkpoints, architectures = _index(parsed.checkpoints), _index(parsed.architectures)
    for architecture in architectures.values():
        _check_default(architecture, checkpoints)
    return Manifest(checkpoints, tuple(architectures.values()), parsed.layouts, parsed.known_files)


def _check_default(architecture: Architecture, checkpoints: Mapping[str, Checkpoint]) -> None:
    default = architecture.default
    if default and (default not in checkpoints or checkpoints[default].model != architecture.name):
        raise ManifestError(f"{architecture.manifest}: default {default!r} is no checkpoint of {architecture.name}")


def _index(entries: Iterable[N]) -> dict[str, N]:
    """Return a dictionary name -> entry; raise ManifestError if two entries have the same name."""
    known: dict[str, N] = {}
    for entry in entries:
        if entry.name in known:
            raise ManifestError(f"{entry.manifest}: {entry.name} is already defined in {known[entry.name].manifest}")
        known[entry.name] = entry
    return known
