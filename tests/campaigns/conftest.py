"""Campaigns say what they did: one line each, past pytest's capture."""

import pytest


@pytest.fixture(scope="session")
def tell(request):
    """Writes a line to the terminal."""
    plugins = request.config.pluginmanager
    reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(f"\n{line}")

    return write


@pytest.fixture
def long(request) -> bool:
    """True where the long form was asked for."""
    return request.config.getoption("--long")
