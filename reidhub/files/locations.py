"""The folder in which the package keeps its files on this machine."""

import os
import sys
from pathlib import Path

from reidhub.errors import CacheError


def cache_root() -> Path:
    """Return the cache folder; the folder need not exist.

    Returns:
        ``$REIDHUB_HOME``, else ``$TORCH_HOME/reidhub``, else ``reidhub`` in torch's default cache folder.

    Raises:
        CacheError: none of these is set and the user has no home folder.
    """
    try:
        if home := os.environ.get("REIDHUB_HOME"):
            return Path(home).expanduser()
        if torch_home := os.environ.get("TORCH_HOME"):
            return Path(torch_home).expanduser() / "reidhub"
        base = os.environ.get("XDG_CACHE_HOME") or (
            os.environ.get("LOCALAPPDATA", "~/AppData/Local") if sys.platform == "win32" else "~/.cache"
        )
        return Path(base).expanduser() / "torch" / "reidhub"
    except RuntimeError as error:  # `expanduser` found no home folder
        raise CacheError("no folder for the cache: this user has no home folder", hint="set REIDHUB_HOME") from error
