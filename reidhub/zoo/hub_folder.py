"""The folder of one checkpoint that `reidhub publish` writes for a hub: names and content of its files.

A folder may come from others, so nothing in its files is trusted: every value is checked, and no path is taken from
them.
"""

import re
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Self

from reidhub.errors import UsageError, WeightsError
from reidhub.files.digest import Digest
from reidhub.files.regular_file import open_regular_file
from reidhub.files.sniff import make_printable
from reidhub.files.strict_json import from_json
from reidhub.zoo.artifact import Artifact, Source, StateDictLayout
from reidhub.zoo.checkpoint import Checkpoint, InputSpec, ModelSpec, OwnCheckpoint

WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
FORMAT = 1
"""Version of the format of the config. It is increased when a field is added, removed or changes its meaning."""

LONGEST = 1 << 18
"""Largest size of a config in bytes; `reidhub publish` writes about 1 KB."""

LONGEST_TEXT = 2000
"""Largest number of characters of one text in a config."""

_LARGEST = 2 << 30  # bytes of the weights; ten times the largest file of the zoo
_HIGHEST = 4096  # pixels; the published models need at most 256
_LEAST_PER_CLASS = 512  # bytes; a row of a classifier has at least 512 numbers
_ADDRESS = re.compile(r"hf:/{1,2}(?P<repository>[^@]+)(@(?P<revision>.*))?", re.DOTALL)  # `Path` keeps one slash
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_AGAIN = "`reidhub publish` writes such a folder"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """The file of the weights.

    Args:
        sha256: its sha256 in hex.
        size: its size in bytes.
    """

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class FolderConfig:
    """The content of the config: everything that reidhub needs in order to use the weights.

    Args:
        reidhub_folder: `FORMAT`.
        name: name of the checkpoint, for people; nothing is looked up by it.
        architecture: name of the architecture.
        num_classes: rows of the classifier; None if the weights have none.
        trained_on: see `Checkpoint`.
        combineall: see `Checkpoint`.
        input: how images are prepared.
        distance: see `Checkpoint`.
        licence: licence and terms of use of the weights.
        notices: sentences that every user should read.
        weights: the file of the weights.
        original_sha256: sha256 of the checkpoint file from which the weights were read; the folder cannot prove it.
    """

    reidhub_folder: int
    name: str
    architecture: str
    num_classes: int | None
    trained_on: tuple[str, ...]
    combineall: bool
    input: InputSpec
    distance: Literal["euclidean", "cosine"]
    licence: str
    notices: tuple[str, ...]
    weights: WeightsFile
    original_sha256: str

    def make_checkpoint(self, name: str, source: Source) -> Checkpoint:
        """Make the checkpoint of the folder.

        Args:
            name: name of the checkpoint.
            source: where the file of the weights is.
        """
        return Checkpoint(
            name=name,
            spec=ModelSpec(self.architecture, self.num_classes),
            trained_on=self.trained_on,
            combineall=self.combineall,
            from_scratch=False,
            artifact=Artifact(Digest(self.weights.sha256), self.weights.size, (source,)),
            layout=StateDictLayout(root="", strip_prefix=""),
            input=self.input,
            distance=self.distance,
            params_m=None,
            gflops=None,
            loss=None,
            transforms=(),
            scores=(),
            licence=self.licence,
            notices=self.notices,
        )


def read_config(folder: Path) -> FolderConfig:
    """Read the config of a folder on this machine.

    Raises:
        WeightsError: the config is missing, cannot be read, or is not one that `reidhub publish` wrote.
    """
    path = folder / CONFIG
    try:
        with open_regular_file(path) as file:
            text = file.read(LONGEST + 1)
    except FileNotFoundError:
        raise WeightsError(f"{folder} is a folder without {CONFIG}", hint=_AGAIN) from None
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    return parse_config(text, str(path))


def parse_config(text: bytes, where: str) -> FolderConfig:
    """Parse the config of a folder.

    Args:
        text: the content of the file.
        where: its path or address, for messages.

    Raises:
        WeightsError: it is not a config that `reidhub publish` wrote.
    """
    if len(text) > LONGEST:
        raise WeightsError(f"{where}: expected at most {LONGEST} bytes, got more", hint=_AGAIN)
    try:
        found = from_json(dict[str, Any], text).get("reidhub_folder")
    except ValueError as error:
        raise WeightsError(f"{where} is not a config in JSON: {make_printable(str(error))}", hint=_AGAIN) from None
    if type(found) is not int:
        raise WeightsError(f"{where} was not written by reidhub: it has no field 'reidhub_folder'", hint=_AGAIN)
    if found != FORMAT:
        raise WeightsError(
            f"{where} has the format {make_printable(str(found))}, expected {FORMAT}",
            hint="use another version of reidhub",
        )
    try:
        config = from_json(FolderConfig, text)
        _check_values(config)
    except ValueError as error:
        raise WeightsError(f"{where} is damaged: {make_printable(str(error))}", hint=_AGAIN) from None
    return config


def _check_values(config: FolderConfig) -> None:
    """Raise ValueError if a value has the right type, but makes no sense or is dangerous."""
    texts = (config.name, config.architecture, config.licence, *config.trained_on, *config.notices)
    if not all(text.isprintable() and len(text) <= LONGEST_TEXT for text in texts):
        raise ValueError(f"a text has more than {LONGEST_TEXT} characters, or some that cannot be printed")
    spec, weights = config.input, config.weights
    Digest(weights.sha256), Digest(config.original_sha256)
    if not 0 < weights.size <= _LARGEST:
        raise ValueError(f"expected weights of 1 to {_LARGEST} bytes, got {weights.size}")
    if config.num_classes is not None and not 0 < config.num_classes <= max(1, weights.size // _LEAST_PER_CLASS):
        raise ValueError(f"{weights.size} bytes of weights cannot have a classifier of {config.num_classes} classes")
    if not (0 < spec.height <= _HIGHEST and 0 < spec.width <= _HIGHEST):
        raise ValueError(f"expected images of 1 to {_HIGHEST} pixels a side, got {spec.height} x {spec.width}")
    if not all(map(isfinite, (*spec.mean, *spec.std))) or min(spec.std) <= 0:
        raise ValueError("mean and std of the colours are not finite, or std is not above 0")


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A folder on the Hugging Face Hub at one commit.

    Args:
        repository: ``ORG/NAME``.
        revision: the commit, 40 lower-case hex digits. What a commit contains never changes.
    """

    repository: str
    revision: str

    @classmethod
    def of(cls, text: str) -> Self | None:
        """Read an address such as ``hf://ORG/NAME@<40 hex digits>``; None if the text does not start with ``hf://``.

        Raises:
            UsageError: the address is malformed, or has no commit.
        """
        if (found := _ADDRESS.fullmatch(text)) is None:
            return None
        repository, revision = found["repository"].rstrip("/"), found["revision"] or ""
        if not _REPOSITORY.fullmatch(repository):
            raise UsageError(f"expected hf://ORG/NAME@COMMIT, got {make_printable(text)!r}")
        if not _COMMIT.fullmatch(revision):
            given = f"the revision {make_printable(revision)!r}" if revision else "no revision"
            raise UsageError(
                f"expected hf://{repository}@COMMIT with the 40 hex digits of a commit, got {given}",
                hint="the files of a branch or tag can change, those of a commit cannot; "
                "the hub lists commits under Files, History",
            )
        return cls(repository, revision)

    def __str__(self) -> str:
        return f"hf://{self.repository}@{self.revision}"

    def locate(self, file: str) -> Source:
        """Return the source of a file of the folder."""
        return Source("https", f"https://huggingface.co/{self.repository}/resolve/{self.revision}/{file}")


def choose_title(checkpoint: Checkpoint) -> str:
    """Return the name of a checkpoint without a path or an address.

    For a user's own file or folder, it is the name of the file without its suffix, or of the folder. For an address, it
    is the name of the repository, without the organisation.
    """
    if address := HubAddress.of(checkpoint.name):
        return address.repository.rpartition("/")[2]
    if isinstance(checkpoint, OwnCheckpoint) and checkpoint.name == str(checkpoint.path):
        path = checkpoint.path.absolute()
        return path.parent.name if path.name == WEIGHTS else path.stem
    return checkpoint.name
