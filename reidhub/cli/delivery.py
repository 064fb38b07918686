"""Copy or convert a downloaded file, for the options ``--output`` and ``--format`` of ``reidhub download``."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from reidhub.files.atomic import explain_write_errors, write_atomically
from reidhub.files.digest import BLOCK
from reidhub.zoo.checkpoint import Checkpoint

FORMATS = ("original", "safetensors")


@dataclass(frozen=True, slots=True)
class Delivery:
    """The folder and the format in which the user wants downloaded files.

    Args:
        folder: folder for a copy that has the checkpoint's name; None for no copy.
        form: one of `FORMATS`.
    """

    folder: Path | None
    form: str

    def hand_out(self, checkpoint: Checkpoint, path: Path) -> Path:
        """Copy or convert the file as the user asked, and return the path of the result.

        Args:
            checkpoint: the checkpoint that the file belongs to.
            path: the path of the checkpoint's file in the cache.

        Raises:
            WeightsError: the file has no weights that can be converted.
            CacheError: the cache or ``folder`` cannot be written.
        """
        name = checkpoint.file_name
        if self.form == "safetensors":
            from reidhub.weights.load import write_safetensors  # imports torch

            path, name = write_safetensors(checkpoint, path), f"{checkpoint.name}.safetensors"
        return _copy(path, self.folder / name) if self.folder else path


def _copy(path: Path, target: Path) -> Path:
    """Copy a file to ``target``, completely or not at all, and create the folder if it does not exist."""
    with explain_write_errors(f"write {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as original, write_atomically(target) as copy:
            shutil.copyfileobj(original, copy, BLOCK)
    return target
