"""Checks the folder that a command is about to write, so that no file of a user is replaced by mistake."""

from pathlib import Path

from reidhub.errors import UsageError
from reidhub.files.atomic import TEMPORARY, explain_write_errors


def check_free(folder: Path, *, force: bool) -> None:
    """Check that a folder is empty or does not exist. Temporary files of `reidhub.files.atomic` do not count.

    Args:
        folder: the folder.
        force: True to accept a folder that has files.

    Raises:
        UsageError: the folder is a file; or it has files, and ``force`` is not set.
        CacheError: the folder cannot be read.
    """
    if not folder.is_dir():
        if folder.exists():
            raise UsageError(f"expected a folder, but {folder} is a file", hint="name another folder")
        return
    with explain_write_errors(f"use the folder {folder}"):
        names = [path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY)]
    if names and not force:
        raise UsageError(
            f"the folder {folder} is not empty: it has {sorted(names)[0]!r}",
            hint="--force replaces the files that have the same names, and keeps all others",
        )
