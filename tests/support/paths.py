"""Where the tests find the project and the files that travel beside it."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
GUARD = TESTS / "support" / "guard"
SHARED = ROOT.parent / "shared"


def shared(name: str) -> Path:
    """A file or folder that travels beside the project; skips the test where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no shared/{name} beside the project")
    return path
