"""Fixtures of the documentation's tests: one small zoo for all of them, and a desk for each."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from support.documentation import Desk, make_environment, make_hosts, set_desk, write_checkout
from support.warm_python import serve

from reidhub.testing import Internet


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the zoo; several test processes share one."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "documentation-zoo"
    with FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            write_checkout(folder)
            (folder / "complete").touch()
    return folder


@pytest.fixture(scope="session")
def internet(zoo: Path) -> Iterator[Internet]:
    """The hosts of the zoo, for subprocesses."""
    with Internet(make_hosts(zoo)) as internet:
        yield internet


@pytest.fixture(scope="session")
def environment(zoo: Path, internet: Internet) -> dict[str, str]:
    """Environment variables of subprocesses."""
    return make_environment(zoo, internet.environment)


@pytest.fixture(scope="session")
def python(environment: dict[str, str]) -> Iterator[Path]:
    """A program like ``python`` that starts fast."""
    with serve(environment) as program:
        yield program


@pytest.fixture
def desk(zoo: Path, environment: dict[str, str], python: Path, tmp_path: Path) -> Desk:
    """A home and a current folder of this test's own."""
    return set_desk(zoo, tmp_path / "desk", environment, python)
