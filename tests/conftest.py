"""Fixtures shared by all tests: no network, a fresh cache, the optional real files."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.guard import socket_guard  # noqa: F401
from support.paths import GUARD, ROOT, TESTS, shared

if "PYTEST_XDIST_WORKER" in os.environ:  # processes share the cores; threads of each would wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PYTHONPATH"] = os.pathsep.join([str(GUARD), str(ROOT), str(TESTS)])  # the same guard in every subprocess
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # tests import onnxruntime without reidhub too
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in a shell's background; subprocesses would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--long``: also the tests that take minutes."""
    parser.addoption("--long", action="store_true", help="run the tests that take minutes as well")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "long: takes minutes; runs with --long alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what is marked as long unless it was asked for."""
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; asked for with --long"))


@pytest.fixture(autouse=True)
def reidhub_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own."""
    home = tmp_path / "reidhub-home"
    monkeypatch.setenv("REIDHUB_HOME", str(home))
    for name in ("REIDHUB_MANIFEST", "REIDHUB_MIRROR", "REIDHUB_OFFLINE", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def real_weights() -> Path:
    """The folder of five real published checkpoints."""
    return shared("weights")


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """True where the long form of a campaign was asked for."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Writes a line past pytest's capture: campaigns say what they did."""
    plugins = request.config.pluginmanager
    reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            if reporter:
                reporter.write_line(f"\n{line}")
            else:  # one of several processes, which has no terminal
                print(f"\n{line}", file=sys.__stderr__, flush=True)

    return write
