"""The data of the site for programs: ``index.json``."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reidhub.files.regular_file import read_regular_file
from reidhub.files.strict_json import from_json
from reidhub.site.content import Content
from reidhub.site.measurements import Measurement
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.describe import make_json
from reidhub.zoo.manifest_fields import CHECKPOINT_NAME

FILE_NAME = "index.json"
FORMAT = 1
"""Version of the format. It is increased when a field changes its meaning or is removed."""

_MADE_BY = "reidhub site"
_LONGEST = 1 << 28  # bytes; the index of 10,000 checkpoints has a tenth of this


def locate_page(name: str) -> str:
    """Return the address of a checkpoint's page, relative to ``index.json``."""
    return f"checkpoints/{name}.html"


def make_index(content: Content) -> dict[str, Any]:
    """Return the content of ``index.json``."""
    entries = [_make_entry(checkpoint, content) for checkpoint in content.checkpoints]
    return {"format": FORMAT, "made_by": _MADE_BY, "checkpoints": entries}


def _make_entry(checkpoint: Checkpoint, content: Content) -> dict[str, Any]:
    sources = [
        {"kind": source.kind, "location": source.location, "state": _make_state(content, source)}
        for source in checkpoint.artifact.sources
    ]
    measured = [_make_measurement(one) for one in content.measurements.get(checkpoint.name, ())]
    return {**make_json(checkpoint), "sources": sources, "measured": measured, "page": locate_page(checkpoint.name)}


def _make_state(content: Content, source: Any) -> dict[str, Any] | None:
    state = content.links.get(source)
    wanted = ("alive", "size", "reason", "permanent", "checked")
    return {name: getattr(state, name) for name in wanted} if state else None


def _make_measurement(one: Measurement) -> dict[str, Any]:
    result = asdict(one.result)
    wanted = ("dataset", "verdict", "reason", "figures", "source", "file", "copy", "conditions")
    return {**{name: result[name] for name in wanted}, "matched_by": one.matched_by}


def find_earlier_pages(folder: Path) -> set[str] | None:
    """Read the ``index.json`` of an earlier site in a folder.

    Returns:
        The addresses of its pages of checkpoints, relative to the folder. None if the folder has no earlier site.
    """
    try:
        index = from_json(dict[str, Any], read_regular_file(folder / FILE_NAME, _LONGEST))
    except (OSError, ValueError):
        return None
    if index.get("made_by") != _MADE_BY or not isinstance(entries := index.get("checkpoints"), list):
        return None
    names = [entry.get("name") for entry in entries if isinstance(entry, dict)]
    return {locate_page(name) for name in names if isinstance(name, str) and re.fullmatch(CHECKPOINT_NAME, name)}
