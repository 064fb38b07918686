"""What `doctor` finds out about a file."""

from dataclasses import dataclass
from typing import Literal

from reidhub.diagnosis.wrapping import Wrapping
from reidhub.inference.export_metadata import ExportMetadata
from reidhub.zoo.artifact import StateDictLayout


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of `doctor`.

    Args:
        path: path of the file, as given.
        size: size of the file in bytes.
        sha256: sha256 of the file, hexadecimal.
        format: a key of `FORMATS`.
        entries: names of the checkpoints that have exactly this file.
        known_by: how ``entries`` were recognised: by the sha256 or by ``mega-mac``, the checksum in a Mega link; None
            if there are none.
        tensors: number of tensors that were read; 0 if none could be read.
        wrapping: key and name prefix under which the file stores the tensors; None if not known.
        named_layout: name of the layout in the manifest that the file has; None if it has none.
        layout: layout of a manifest entry that loads the file; None if no entry loads it.
        architecture: the architecture that has exactly these tensors, apart from the classifier; None if there is none.
        twins: other architectures that have exactly these tensors too; empty if the file's name tells which one it is.
        nearest: the most similar architecture, if no architecture fits exactly; None if none is similar.
        num_classes: rows of the classifier; None if there is no classifier.
        training_sets: training sets that have ``num_classes`` classes.
        candidates: names of other checkpoints with this ``architecture``; the file may be one of them.
        export: what an exported file says about itself; None for other files.
        notes: other things that a user should know, one sentence each.
        problem: why the file does not load; None if it loads.
        hint: what to do about the problem.
    """

    path: str
    size: int
    sha256: str
    format: str
    entries: tuple[str, ...] = ()
    known_by: Literal["sha256", "mega-mac"] | None = None
    tensors: int = 0
    wrapping: Wrapping | None = None
    named_layout: str | None = None
    layout: StateDictLayout | None = None
    architecture: str | None = None
    twins: tuple[str, ...] = ()
    nearest: str | None = None
    num_classes: int | None = None
    training_sets: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    export: ExportMetadata | None = None
    notes: tuple[str, ...] = ()
    problem: str | None = None
    hint: str | None = None

    @property
    def loadable(self) -> bool:
        """True if the file loads as an architecture of the zoo."""
        return self.problem is None
