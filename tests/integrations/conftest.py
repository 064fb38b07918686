"""Access to the packages of others, and what their trackers get."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.walking_people import Scene, draw_scene, load_demo_embedder

from reidhub.inference import Embedder


@pytest.fixture
def package() -> Callable[[str], ModuleType]:
    """Imports a module of another project; skips the test where the project is missing, fails where it is broken."""

    def load(module: str) -> ModuleType:
        name = module.partition(".")[0]
        if find_spec(name) is None:
            pytest.skip(f"the package {name} is missing; `make test-integrations` installs it")
        return import_module(module)

    return load


@pytest.fixture
def ultralytics(package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, which must neither connect, nor install anything, nor write into the home."""
    for name, value in {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "YOLO_CONFIG_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    return package("ultralytics")


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Frames in which people walk."""
    return draw_scene()


@pytest.fixture(scope="session")
def embed() -> Embedder:
    """The demo's trained checkpoint."""
    return load_demo_embedder()
