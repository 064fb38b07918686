"""Makes folders as `reidhub publish` writes them, for tests that read them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reidhub.api import find_one
from reidhub.exporters.hub_folder import publish
from reidhub.zoo.hub_folder import CONFIG
from support.local_zoos import file_of

CLASSES = 5


def make_folder(folder: Path, architecture: str = "osnet_x0_25", change: Callable[[Any], object] | None = None) -> Path:
    """Publish a file with random weights, and return the folder, which is below ``folder``.

    Args:
        folder: an empty folder.
        architecture: the architecture.
        change: called with the content of the config, which is then written again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.pth").write_bytes(file_of(architecture, CLASSES, seed=3))
    made = publish(find_one(folder / "mine.pth"), folder / "published")
    if change:
        edit_config(made, change)
    return made


def edit_config(folder: Path, change: Callable[[Any], object]) -> None:
    """Change the content of a folder's config."""
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))
