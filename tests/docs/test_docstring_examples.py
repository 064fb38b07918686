"""Every ``>>>`` example in a docstring of the package gives the output that it shows."""

import doctest
from importlib import import_module

import pytest
from support.paths import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "reidhub").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_give_the_output_that_they_show(name):
    failed, tried = doctest.testmod(import_module(name))
    assert (failed, tried > 0) == (0, True)


def test_there_are_examples_to_run():
    assert {"reidhub.testing", "reidhub.testing.hosts", "reidhub.testing.internet"} <= set(MODULES)
