"""Paths of the project, of the tests, and of the ``shared`` folder next to the project."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
GUARD = TESTS / "support" / "guard"
SHARED = ROOT.parent / "shared"


def shared(name: str) -> Path:
    """Return the path of a file or folder in ``shared``; skip the test if the path does not exist."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no shared/{name} beside the project")
    return path
