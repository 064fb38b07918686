"""Access to the packages of others."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import pytest


@pytest.fixture
def package() -> Callable[[str], ModuleType]:
    """Imports a module of another project; skips the test where the project is missing, fails where it is broken."""

    def load(module: str) -> ModuleType:
        name = module.partition(".")[0]
        if find_spec(name) is None:
            pytest.skip(f"the package {name} is missing; `make test-integrations` installs it")
        return import_module(module)

    return load
