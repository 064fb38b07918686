"""Campaigns say what they did: one line each, past pytest's capture."""

import sys

import pytest


@pytest.fixture
def tell(capsys):
    """Writes a line to the terminal."""

    def write(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return write


@pytest.fixture
def long(request) -> bool:
    """True where the long form was asked for."""
    return request.config.getoption("--long")
