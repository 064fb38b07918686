"""Makes a checkpoint from a file of the user: its architecture, its layout, and how images are prepared for it."""

import logging
import os
from dataclasses import fields, replace
from pathlib import Path

from reidhub.diagnosis import Diagnosis, diagnose
from reidhub.diagnosis.origins import find_by_digest
from reidhub.errors import StateDictError, UnknownCheckpointError, UsageError
from reidhub.files.digest import Digest
from reidhub.files.sniff import make_printable
from reidhub.models import build
from reidhub.zoo.checkpoint import IMAGENET, Artifact, Checkpoint, ModelSpec, OwnCheckpoint, Source
from reidhub.zoo.manifest import zoo

_log = logging.getLogger(__name__)


def find_own_checkpoint(path: str | os.PathLike[str], architecture: str | None = None) -> OwnCheckpoint:
    """Make the checkpoint of a file of the user.

    If the file has the bytes of a checkpoint of the zoo, it is this checkpoint, with its name, distance and scores. If
    not, its name is the path, and input size, mean, standard deviation and interpolation are those of the architecture.

    Args:
        path: the file.
        architecture: name of an architecture; None to detect it from the names and shapes of the tensors.

    Raises:
        UnknownCheckpointError: there is no such file.
        UsageError: no architecture has this name, or the file is a checkpoint of the zoo with another architecture.
        StateDictError: the file does not hold exactly the weights of one architecture, apart from the classifier; the
            message lists what does not fit.
        WeightsError: the file cannot be read.
    """
    if architecture is not None:
        build(architecture, device="meta")  # raises an error for an unknown name
    path = Path(path)
    if not path.exists():
        raise UnknownCheckpointError(f"there is no file {path}", hint="`reidhub list` shows the checkpoints of the zoo")
    digest = Digest.of_file(path) if path.is_file() else None
    known = find_by_digest(digest) if digest else ()
    if not known:
        found = diagnose(path, architecture)
        if found.problem:
            hint = "leave the architecture out, and it is detected" if architecture else found.hint
            raise StateDictError(f"{path}: {found.problem}", hint=hint)
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
        distance="euclidean",
        params_m=None,
        gflops=None,
        loss=None,
        transforms=(),
        scores=(),
        licence="not stated",
        path=path,
    )
