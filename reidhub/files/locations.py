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
        CacheError: the path starts with ``~``, and no such home folder is known, for example in a container.
    """
    home, torch_home = os.environ.get("REIDHUB_HOME"), os.environ.get("TORCH_HOME")
    caches = os.environ.get("LOCALAPPDATA", "~/AppData/Local") if sys.platform == "win32" else "~/.cache"
    if home:
        folder = Path(home)
    elif torch_home:
        folder = Path(torch_home) / "reidhub"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or caches) / "torch" / "reidhub"
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise CacheError(
            f"no folder for the cache: no home folder is known for the ~ in {folder}",
            hint="set REIDHUB_HOME to a folder, as a full path",
        ) from error
