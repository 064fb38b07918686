"""Fixtures of the documentation's tests: one small zoo and one built site for all of them, and a desk for each."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from support.documentation import Desk, make_environment, make_hosts, set_desk, write_checkout
from support.warm_python import serve

from reidhub.testing import Internet
from tools.build_docs import build


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Make a folder for all tests; several test processes share it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            make(folder)
            (folder / "complete").touch()
    return folder


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the zoo."""
    return make_once(tmp_path_factory, "documentation-zoo", write_checkout)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built documentation site."""
    pytest.importorskip("furo", reason="the packages of reidhub[docs] are missing; `make docs` installs them")
    return make_once(tmp_path_factory, "documentation-site", lambda folder: build(folder / "site")) / "site"


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
