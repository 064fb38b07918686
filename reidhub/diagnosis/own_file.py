"""Makes a checkpoint from what a user gives instead of a name: a file, a folder of `reidhub publish`, or its address.

A checkpoint says which architecture the weights have, how the file stores them, and how images are prepared.
"""

import logging
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

from reidhub.cache.store import Cache
from reidhub.diagnosis import Diagnosis, diagnose
from reidhub.diagnosis.origins import find_by_digest
from reidhub.download.hub import find_on_hub
from reidhub.errors import StateDictError, UnknownCheckpointError, UsageError, WeightsError
from reidhub.files.digest import Digest
from reidhub.files.sniff import make_printable
from reidhub.models import ARCHITECTURES, build
from reidhub.zoo.artifact import Artifact, Source
from reidhub.zoo.checkpoint import IMAGENET, Checkpoint, ModelSpec, OwnCheckpoint
from reidhub.zoo.hub_folder import CONFIG, WEIGHTS, HubAddress, read_config
from reidhub.zoo.manifest import zoo

AnyCheckpoint = TypeVar("AnyCheckpoint", bound=Checkpoint)

_CHOOSE = "name the architecture: architecture=... in Python, --architecture in a command"
_COPY = "copy the whole folder again, or write it again with `reidhub publish`"

_log = logging.getLogger(__name__)


def find_own_checkpoint(path: str | os.PathLike[str], architecture: str | None = None) -> Checkpoint:
    """Make the checkpoint of a file or a folder of the user, or of a folder on a hub.

    If a file has the bytes of a checkpoint of the zoo, it is this checkpoint, with its name, distance and scores. If
    not, its name is the path, and input size, mean, standard deviation and interpolation are those of the architecture.
    For a folder, the config in the folder says all this, and the name is the path of its weights, or its address.

    Args:
        path: the file, the folder, or an address such as ``hf://ORG/NAME@COMMIT``.
        architecture: name of an architecture; None to detect it from the names and shapes of the tensors.

    Returns:
        An `OwnCheckpoint`, except for an address.

    Raises:
        UnknownCheckpointError: there is no such file or folder.
        UsageError: no architecture has this name, or the checkpoint has another architecture; an address is malformed.
        FetchError: the hub did not give the config.
        StateDictError: the file does not hold exactly the weights of one architecture, apart from the classifier; the
            message lists what does not fit.
        WeightsError: the file cannot be read, or is not the one that its config describes.
    """
    if architecture is not None:
        build(architecture, device="meta")  # raises an error for an unknown name
    if address := HubAddress.of(os.fspath(path)):
        return _check_architecture(find_on_hub(address, Cache()), architecture)
    path = Path(path)
    if not path.exists():
        raise UnknownCheckpointError(f"there is no file {path}", hint="`reidhub list` shows the checkpoints of the zoo")
    if path.is_dir():
        return _check_architecture(_find_in_folder(path), architecture)
    return _find_in_file(path, architecture)


def _check_architecture(found: AnyCheckpoint, architecture: str | None) -> AnyCheckpoint:
    """Return the checkpoint of a folder; raise UsageError if its architecture is unknown, or is not the wanted one."""
    if found.model not in ARCHITECTURES:
        raise UsageError(
            f"{found.name} has the architecture {make_printable(found.model)!r}, which this version does not know",
            hint=f"known are {', '.join(ARCHITECTURES)}",
        )
    if architecture not in (None, found.model):
        raise UsageError(f"{found.name} has the architecture {found.model}, not {architecture}")
    return found


def _find_in_folder(folder: Path) -> OwnCheckpoint:
    """Make the checkpoint of a folder that `reidhub publish` wrote, and check the file of its weights."""
    config, path = read_config(folder), folder / WEIGHTS
    try:
        size, digest = path.stat().st_size, Digest.of_file(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}", hint=_COPY) from error
    wanted = config.weights
    if (size, digest.hex) != (wanted.size, wanted.sha256):
        raise WeightsError(
            f"{path}: {CONFIG} promises {wanted.size} bytes with sha256 {wanted.sha256}, got {size} with {digest}",
            hint=_COPY,
        )
    made = config.make_checkpoint(str(path), Source("local", path.absolute().as_uri()))
    return OwnCheckpoint(**{field.name: getattr(made, field.name) for field in fields(Checkpoint)}, path=path)


def _find_in_file(path: Path, architecture: str | None) -> OwnCheckpoint:
    digest = Digest.of_file(path) if path.is_file() else None
    known = find_by_digest(digest) if digest else ()
    if not known:
        found = diagnose(path, architecture)
        if found.problem:
            raise StateDictError(f"{path}: {found.problem}", hint=_advise(path, architecture) or found.hint)
        if found.twins:
            both = " and of ".join((str(found.architecture), *found.twins))
            raise StateDictError(f"{path} has the tensors of {both}, whose images differ in size", hint=_CHOOSE)
        known = tuple(zoo().by_name[name] for name in found.entries)
        if not known:
            _log.info("%s has the architecture %s", path, found.architecture)
            if found.wrapping and found.wrapping.other_roots:
                left = ", ".join(map(make_printable, found.wrapping.other_roots))
                _log.warning("%s: the weights under %s are read, not those under %s", path, found.wrapping.root, left)
            return _describe(path, found)
    _log.info("%s has the bytes of %s", path, known[0].name)
    if architecture not in (None, known[0].model):
        raise UsageError(f"{path} has the bytes of {known[0].name}, which is not {architecture}")
    values = {field.name: getattr(known[0], field.name) for field in fields(Checkpoint)}
    return OwnCheckpoint(**{**values, "artifact": replace(known[0].artifact, digest=digest)}, path=path)


def _advise(path: Path, architecture: str | None) -> str | None:
    """Return a hint that names the architecture of a file that does not load as the given one; None if none fits."""
    detected = diagnose(path) if architecture else None
    if detected is None or detected.problem or detected.architecture is None:
        return None
    return f"it has the tensors of {' and of '.join((detected.architecture, *detected.twins))}"


def _describe(path: Path, found: Diagnosis) -> OwnCheckpoint:
    """Make the checkpoint of a file that is not in the zoo, and that loads."""
    architecture = zoo().architecture(found.architecture or "")
    if architecture is None or found.layout is None:
        raise UsageError(
            f"the manifest has no entry for the architecture {found.architecture}, so the size of its images is unknown"
        )
    is_imagenet = IMAGENET in found.training_sets
    return OwnCheckpoint(
        name=str(path),
        spec=ModelSpec(architecture.name, found.num_classes),
        trained_on=(IMAGENET,) if is_imagenet else (),
        combineall=False,
        from_scratch=False,
        artifact=Artifact(Digest(found.sha256), found.size, (Source("local", path.absolute().as_uri()),)),
        layout=found.layout,
        input=architecture.input,
        distance=zoo().find_distance(architecture.name),
        params_m=None,
        gflops=None,
        loss=None,
        transforms=(),
        scores=(),
        licence="not stated",
        path=path,
    )
