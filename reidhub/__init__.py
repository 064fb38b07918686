"""Pretrained models for person re-identification, with published scores that anyone can measure again.

Each public name is imported when it is first used, so ``import reidhub`` alone is fast. Older versions of
Python can parse this file and ``hubconf.py``, and are told which version is needed.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from reidhub._version import __version__

if sys.version_info < (3, 11):  # noqa: UP036  # torch.hub does not look at `python_requires`
    raise ImportError("reidhub needs Python 3.11 or later, but this is Python %d.%d" % sys.version_info[:2])  # noqa: UP031

if TYPE_CHECKING:
    from reidhub import compat, metrics
    from reidhub.api import build, checkpoints, fetch, find, load
    from reidhub.api.embedding import embedder, transform
    from reidhub.api.exporting import export
    from reidhub.api.ranking import rank
    from reidhub.api.retrieval import embed
    from reidhub.diagnosis import doctor
    from reidhub.errors import ReidhubError
    from reidhub.inference.complexity import complexity
    from reidhub.verification.calls import evaluate, verify
    from reidhub.weights import read_weights
    from reidhub.zoo.checkpoint import Checkpoint

_PUBLIC = {
    "Checkpoint": "reidhub.zoo.checkpoint",
    "ReidhubError": "reidhub.errors",
    "build": "reidhub.api",
    "checkpoints": "reidhub.api",
    "compat": "",
    "complexity": "reidhub.inference.complexity",
    "doctor": "reidhub.diagnosis",
    "embed": "reidhub.api.retrieval",
    "embedder": "reidhub.api.embedding",
    "evaluate": "reidhub.verification.calls",
    "export": "reidhub.api.exporting",
    "fetch": "reidhub.api",
    "find": "reidhub.api",
    "load": "reidhub.api",
    "metrics": "",
    "rank": "reidhub.api.ranking",
    "read_weights": "reidhub.weights",
    "transform": "reidhub.api.embedding",
    "verify": "reidhub.verification.calls",
}

__all__ = [
    "Checkpoint",
    "ReidhubError",
    "__version__",
    "build",
    "checkpoints",
    "compat",
    "complexity",
    "doctor",
    "embed",
    "embedder",
    "evaluate",
    "export",
    "fetch",
    "find",
    "load",
    "metrics",
    "rank",
    "read_weights",
    "transform",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _PUBLIC[name]
    value = getattr(import_module(home), name) if home else import_module(f"{__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
